"""Vanishing gradients in 20 layers, and each cure: ReLU, initialisation, skips, an auxiliary head; clipping.

Purpose:  show each layer's gradient before training, and whether the network then learns: 10 % is chance.
Command:  python recipes/08_vanishing_gradients.py --plot recipes/figures/08_vanishing_gradients.svg
Data:     builtin:digits; decades are log10 of the first layer's gradient over the last's; small is N(0, 0.05)
Expected: sigmoid_decades -11.29 ± 0.294, sigmoid_accuracy 10.04 ± 0.0746, relu_small_decades -9.6 ± 0.216,
          relu_small_accuracy 10.04 ± 0.0746, relu_he_decades 0.107 ± 0.444, relu_he_accuracy 74.14 ± 33.34,
          sigmoid_skips_decades -0.263 ± 0.174, sigmoid_skips_accuracy 96.28 ± 2.25, sigmoid_auxiliary_decades -0.657 ±
          0.263, sigmoid_auxiliary_accuracy 10.04 ± 0.0746, relu_auxiliary_decades 0.109 ± 0.227,
          relu_auxiliary_accuracy 81.06 ± 16.15, exploding_accuracy 10.04 ± 0.0746, exploding_clipped_accuracy 62.95 ±
          18.49 (3 seeds)
Machine:  1 of 2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1
Time:     5 minutes, one core beside other work
"""

import sys

import keras
import numpy as np
from keras import layers

from tlkit import recipes
from tlkit.analysis.gradient_flow import gradient_flow

DEPTH, WIDTH, SIZE, LARGE = 20, 64, 8, {"class_name": "VarianceScaling", "config": {"scale": 6.0}}
CURES = {
    "sigmoid": {"activation": "sigmoid"},
    "relu_small": {"activation": "relu", "start": "random_normal"},
    "relu_he": {"activation": "relu", "start": "he_normal"},
    "sigmoid_skips": {"activation": "sigmoid", "skips": True},
    "sigmoid_auxiliary": {"activation": "sigmoid", "auxiliary": True},
    "relu_auxiliary": {"activation": "relu", "start": "random_normal", "auxiliary": True},
    "exploding": {"activation": "relu", "start": LARGE},
    "exploding_clipped": {"activation": "relu", "start": LARGE},
}


def network(activation, start="glorot_uniform", skips=False, auxiliary=False):
    image, early = keras.Input((SIZE, SIZE, 3)), []
    x = layers.Dense(WIDTH, name="layer00")(layers.Flatten()(layers.Rescaling(1 / 255)(image)))
    for number in range(1, DEPTH):
        y = layers.Dense(WIDTH, activation, kernel_initializer=start, name=f"layer{number:02d}")(x)
        x = layers.Add()([x, y]) if skips else y
        if auxiliary and number in (2, 6, 10, 14):
            early.append(layers.Dense(10, "softmax", name=f"early{number:02d}")(x))
    output = layers.Dense(10, "softmax", name="output")(x)
    return keras.Model(image, [output, *early] if early else output)


def loss(y, outputs):
    each = outputs if isinstance(outputs, list) else [outputs]
    return sum(keras.losses.sparse_categorical_crossentropy(y, output) for output in each)


def measure(options, seed):
    parts = recipes.load_parts(options.data, SIZE, seed=seed, per_class=10 if options.smoke else None)
    (x, y), (x_test, y_test) = parts.train, parts.test
    figures = {}
    for name, cure in CURES.items():
        keras.utils.set_random_seed(seed)
        model, clip = network(**cure), 1.0 if name.endswith("clipped") else None
        flow = gradient_flow(model, x[:256], y[:256], loss)
        share = min(1.0, clip / np.linalg.norm(flow.gradient_norm[0])) if clip else 1.0
        levels = zip(flow.layers, np.log10(np.maximum(share * flow.gradient_rms[0], 1e-30)), strict=True)
        figures |= {f"{name}_{layer}": float(level) for layer, level in levels if layer.startswith("layer")}
        figures[f"{name}_decades"] = figures[f"{name}_layer00"] - figures[f"{name}_layer19"]
        optimizer, heads = keras.optimizers.SGD(0.01, momentum=0.9, global_clipnorm=clip), len(model.outputs)
        model.compile(optimizer, ["sparse_categorical_crossentropy"] * heads)
        model.fit(x, [y] * heads, epochs=1 if options.smoke else 30, batch_size=32, verbose=0)
        judged = keras.Model(model.input, model.outputs[0])  # What the early heads say does not count.
        figures[f"{name}_accuracy"] = 100 * np.mean(judged.predict(x_test, verbose=0).argmax(axis=1) == y_test)
    return figures


def draw(means, path):
    lines = {name: [(number, means[f"{name}_layer{number:02d}"]) for number in range(DEPTH)] for name in CURES}
    recipes.write_chart(path, "Gradient before training, by layer", ("layer", "log10 of the gradient's RMS"), lines)


sys.exit(recipes.main(measure, __doc__, data="builtin:digits", draw=draw))
