"""Tells when a network plainly sees pixels on another scale than the one it was trained on.

Wrong scaling raises no error: the features only get worse. What can be seen without labels are gross mistakes
(0-255 for 0-1, or scaled twice); that images are of another kind than those of the training is no mistake.
"""

from __future__ import annotations

import keras
import numpy as np

# Between sets of photographs, drawings and digits the first layer's variances differ by factors below 10 and its means
# by a few standard deviations; 0-255 in place of 0-1 is a factor of 65,025, scaling twice one of 1 / 16,000 and less.
FAR_IN_VARIANCE = 50.0
FAR_IN_MEAN = 15.0
MOSTLY = 0.9


def check_features(model: keras.Model, pixels: np.ndarray) -> tuple[str, ...]:
    """Looks for signs that a trained backbone gets its pixels wrongly scaled.

    Args:
        model: Raw pixels 0-255 in, feature map or features out.
        pixels: At least two different images, (n, height, width, channels); 16 are plenty.

    Returns:
        One line for each sign found; empty where nothing looks wrong.
    """
    pixels = np.asarray(pixels, "float32")
    features = keras.ops.convert_to_numpy(model(pixels, training=False)).astype("float64")
    findings = []
    if not np.isfinite(features).all():
        findings.append("features are not finite numbers")
    elif (constant := _constant_share(features)) > MOSTLY:
        findings.append(f"{constant:.0%} of the features are the same for every image")
    findings += _normalization_findings(model, pixels)
    return tuple(f"The pixels may be scaled wrongly: {finding}. Check --preprocessing." for finding in findings)


def _constant_share(features: np.ndarray) -> float:
    """The share of features that do not vary between images, against the size of the largest."""
    pooled = features.reshape(len(features), -1, features.shape[-1]).mean(axis=1)
    return float(np.mean(pooled.std(axis=0) <= 1e-6 * max(np.abs(pooled).max(), 1e-30)))


def _normalization_findings(model: keras.Model, pixels: np.ndarray) -> list[str]:
    """Compares what the first BatchNormalization gets with what it got on average in training."""
    first = next((layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)), None)
    if first is None:
        return []
    mean, variance = (
        keras.ops.convert_to_numpy(value).astype("float64") for value in (first.moving_mean, first.moving_variance)
    )
    if not mean.any() and (variance == 1).all():
        return []  # Never trained: there is nothing to compare with.
    received = keras.ops.convert_to_numpy(keras.Model(model.input, first.input)(pixels, training=False))
    channels = received.reshape(-1, received.shape[-1]).astype("float64")
    ratio = float(np.median((channels.var(axis=0) + first.epsilon) / (variance + first.epsilon)))
    shift = float(np.median(np.abs(channels.mean(axis=0) - mean) / np.sqrt(variance + first.epsilon)))
    if not 1 / FAR_IN_VARIANCE < ratio < FAR_IN_VARIANCE:
        return [f"layer {first.name!r} gets {ratio:.2g} times the variance of its training"]
    if shift > FAR_IN_MEAN:
        return [f"layer {first.name!r} gets values {shift:.0f} standard deviations off those of its training"]
    return []
