"""Vanishing gradients in 20 layers, and each cure: ReLU, initialisation, skips, an auxiliary head; clipping.

Purpose:  show the gradient of every layer before training, and what each cure makes of it and of the training.
Command:  python recipes/08_vanishing_gradients.py --plot recipes/figures/08_vanishing_gradients.svg
Data:     builtin:digits: 1,257 digits train; `..._decades` is log10 of the first layer's gradient over the last's
Expected: sigmoid_decades -11.29 ± 0.294, sigmoid_accuracy 10.04 ± 0.0746, relu_small_start_decades -9.36 ± 0.38,
          relu_small_start_accuracy 10.04 ± 0.0746, relu_he_decades 0.193 ± 0.405, relu_he_accuracy 92.32 ± 5.56,
          sigmoid_skips_decades -0.178 ± 0.0839, sigmoid_skips_accuracy 92.32 ± 5.08, sigmoid_auxiliary_decades -0.616
          ± 0.263, sigmoid_auxiliary_accuracy 88.35 ± 0.863, exploding_decades 0.361 ± 0.0354, exploding_accuracy
          10.04 ± 0.0746, exploding_clipped_decades 0.171 ± 0.237, exploding_clipped_accuracy 51.79 ± 4.63 (3 seeds)
Machine:  2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1
Time:     5 minutes, the two cores shared with other work
"""

import sys

import keras
import numpy as np
from keras import layers

from tlkit import recipes
from tlkit.analysis.gradient_flow import gradient_flow

DEPTH, WIDTH, SIZE = 20, 64, 8
CURES = {
    "sigmoid": {"activation": "sigmoid"},
    "relu_small_start": {"activation": "relu", "start": "random_normal"},
    "relu_he": {"activation": "relu", "start": "he_normal"},
    "sigmoid_skips": {"activation": "sigmoid", "skips": True},
    "sigmoid_auxiliary": {"activation": "sigmoid", "auxiliary": True},
    "exploding": {"activation": "relu", "start": keras.initializers.VarianceScaling(6.0)},
    "exploding_clipped": {"activation": "relu", "start": keras.initializers.VarianceScaling(6.0)},
}


def network(activation, start="glorot_uniform", skips=False, auxiliary=False):
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Dense(WIDTH, name="layer00")(layers.Flatten()(layers.Rescaling(1 / 255)(image)))
    early = []
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
        model = network(**cure)
        flow = gradient_flow(model, x[:256], y[:256], loss)
        rms = dict(zip(flow.layers, np.maximum(flow.gradient_rms[0], 1e-30), strict=True))
        figures |= {f"{name}_{layer}": float(np.log10(rms[layer])) for layer in rms if layer.startswith("layer")}
        figures[f"{name}_decades"] = float(np.log10(rms["layer00"] / rms["layer19"]))
        optimizer = keras.optimizers.SGD(0.01, momentum=0.9, global_clipnorm=None if name == "exploding" else 1.0)
        heads = len(model.outputs)
        model.compile(optimizer, ["sparse_categorical_crossentropy"] * heads)
        model.fit(x, [y] * heads, epochs=1 if options.smoke else 30, batch_size=32, verbose=0)
        mean = sum(model.predict(x_test, verbose=0)) if heads > 1 else model.predict(x_test, verbose=0)
        figures[f"{name}_accuracy"] = 100 * np.mean(mean.argmax(axis=1) == y_test)
    return figures


def draw(means, path):
    shown = [name for name in CURES if "clipped" not in name]
    lines = {name: [(number, means[f"{name}_layer{number:02d}"]) for number in range(DEPTH)] for name in shown}
    axes = ("layer, from the input", "log10 of the gradient's root mean square")
    recipes.write_chart(path, "Gradient before training, by layer", axes, lines)


sys.exit(recipes.main(measure, __doc__, data="builtin:digits", draw=draw))
