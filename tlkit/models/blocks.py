"""What several networks of the zoo are made of."""

from __future__ import annotations

from typing import Any

from keras import layers


def convolve(
    x: Any, filters: int, kernel_size: int, name: str, *, padding: str = "same", batch_norm: bool = False
) -> Any:
    """Convolves and applies ReLU; with `batch_norm` what the convolution gives is normalised in between."""
    options = {"padding": padding, "kernel_initializer": "he_normal", "name": name}
    if not batch_norm:
        return layers.Conv2D(filters, kernel_size, activation="relu", **options)(x)
    x = layers.Conv2D(filters, kernel_size, use_bias=False, **options)(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
