"""Vanishing gradients in 20 layers, and each cure: ReLU, initialisation, skips, an auxiliary head; clipping.

Purpose:  show the gradient of every layer before training, and what each cure makes of it and of the training.
Command:  python recipes/08_vanishing_gradients.py --plot recipes/figures/08_vanishing_gradients.svg
Data:     builtin:digits: 1,257 digits train; `..._decades` is log10 of the first layer's gradient over the last's
Expected: not measured yet: its smoke run alone was made
Machine:  none yet
Time:     not measured
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
        answers = model.predict(x_test, verbose=0)
        mean = sum(answers) if heads > 1 else answers
        figures[f"{name}_accuracy"] = 100 * np.mean(mean.argmax(axis=1) == y_test)
    return figures


def draw(means, path):
    shown = [name for name in CURES if "clipped" not in name]
    lines = {name: [(number, means[f"{name}_layer{number:02d}"]) for number in range(DEPTH)] for name in shown}
    axes = ("layer, from the input", "log10 of the gradient's root mean square")
    recipes.write_chart(path, "Gradient before training, by layer", axes, lines)


sys.exit(recipes.main(measure, __doc__, data="builtin:digits", draw=draw))
