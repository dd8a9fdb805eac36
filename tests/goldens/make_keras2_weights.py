"""Writes small weight files with Keras 2, in the forms in which its users have them.

Run with TensorFlow and tf_keras (Keras 2 under its own name) installed: python tests/goldens/make_keras2_weights.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tf_keras as keras

FOLDER = Path(__file__).with_name("keras2")


def tiny_network() -> keras.Model:
    """The network of `tests/backbones/test_weight_matching.py`; three of its layers have names made up by Keras."""
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, name="stem_conv")(image)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Conv2D(6, 1)(x)
    return keras.Model(image, x, name="tiny")


def main() -> None:
    """Writes the files and, layer by layer in order, the weights that are in them."""
    FOLDER.mkdir(exist_ok=True)
    tiny_network()  # So that the made-up names are not those of a fresh process.
    base = tiny_network()
    generator = np.random.default_rng(0)
    base.set_weights([generator.uniform(0.1, 1, weight.shape) for weight in base.get_weights()])
    np.savez(FOLDER / "weights.npz", *base.get_weights())
    base.save_weights(FOLDER / "flat.h5")
    base.save_weights(FOLDER / "flat.weights.h5")
    features = keras.layers.GlobalAveragePooling2D()(base.output)
    keras.Model(base.input, keras.layers.Dense(2)(features)).save_weights(FOLDER / "with_top.h5")
    base.trainable = False
    image = keras.Input((16, 16, 3))
    features = keras.layers.GlobalAveragePooling2D()(base(keras.layers.Rescaling(1 / 255)(image), training=False))
    nested = keras.Model(image, keras.layers.Dense(2)(features))
    nested.save(FOLDER / "nested.h5")
    nested.save(FOLDER / "nested.keras")


main()
