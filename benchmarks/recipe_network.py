"""The small residual network of the comparison of recipes."""

from __future__ import annotations

from typing import Any


def small_network(seed: int = 0) -> Any:
    """A residual network of three resolutions with BatchNormalization, for ten classes."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    inputs = keras.Input((32, 32, 3), name="image")
    x = layers.Rescaling(1 / 127.5, -1, name="preprocess_scale")(inputs)
    for stage, width in enumerate((32, 64, 128), start=1):
        for block in (1, 2):
            stride = 2 if block == 1 else 1
            y = layers.Conv2D(width, 3, stride, "same", use_bias=False)(x)
            y = layers.ReLU()(layers.BatchNormalization()(y))
            y = layers.BatchNormalization()(layers.Conv2D(width, 3, 1, "same", use_bias=False)(y))
            shortcut = x
            if block == 1:
                shortcut = layers.BatchNormalization()(layers.Conv2D(width, 1, 2, "same", use_bias=False)(x))
            x = layers.ReLU(name=f"stage{stage}_block{block}")(layers.Add()([y, shortcut]))
    x = layers.GlobalAveragePooling2D(name="pooled_features")(x)
    x = layers.Dense(10, kernel_initializer="zeros", name="head")(x)
    return keras.Model(inputs, layers.Activation("softmax", name="probabilities")(x), name="small")
