"""LeNet-5: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", 1998.

In today's form, of 61,706 weights: the paper's C3 reads only some of the six maps (1,516 weights for 2,416), its
subsampling has a weight and a bias a map (12 + 32, none here), and its output layer of radial basis functions is fixed
(a Dense layer with 850 here); so the paper counts 60,000. C1, C5 and F6 have the paper's 156, 48,120 and 10,164.
"""

from __future__ import annotations

from typing import Any

from keras import layers

from tlkit.models.network import Network


def _body(x: Any) -> Any:
    x = layers.Conv2D(6, 5, activation="tanh", name="c1")(x)
    x = layers.AveragePooling2D(2, name="s2")(x)
    x = layers.Conv2D(16, 5, activation="tanh", name="c3")(x)
    x = layers.AveragePooling2D(2, name="s4")(x)
    return layers.Conv2D(120, 5, activation="tanh", name="c5")(x)


def _neck(x: Any) -> Any:
    x = layers.Flatten(name="flatten")(x)
    return layers.Dense(84, activation="tanh", name="f6")(x)


LeNet5 = Network(
    "lenet5",
    _body,
    _neck,
    (32, 32, 1),
    smallest=32,
    classes=10,
    paper="http://yann.lecun.com/exdb/publis/pdf/lecun-01a.pdf",
)
