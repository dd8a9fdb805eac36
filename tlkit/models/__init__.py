"""Networks to be trained from scratch, each with the signature of keras.applications. Names resolve when used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlkit.lazy import attach

if TYPE_CHECKING:
    from tlkit.models.alexnet import AlexNet
    from tlkit.models.fastnet import FastNet, FastNetSmall
    from tlkit.models.fcn import FCN8s, SmallFCN8s, SmallFCN32s
    from tlkit.models.googlenet import GoogLeNet, with_auxiliary_heads
    from tlkit.models.lenet import LeNet5
    from tlkit.models.mnist import MnistCNN, MnistFFNN
    from tlkit.models.network import Network
    from tlkit.models.resnet import (
        Plain18,
        Plain18Cifar,
        Plain20,
        Plain34,
        Plain34Cifar,
        Plain56,
        ResNet18,
        ResNet18Cifar,
        ResNet20,
        ResNet34,
        ResNet34Cifar,
        ResNet56,
    )
    from tlkit.models.unet import SmallUNet, SmallUNetPlain, UNet
    from tlkit.models.vgg import VGG11, SmallVGG

_HOMES = {
    "alexnet": ("AlexNet",),
    "fastnet": ("FastNet", "FastNetSmall"),
    "fcn": ("FCN8s", "SmallFCN8s", "SmallFCN32s"),
    "googlenet": ("GoogLeNet", "with_auxiliary_heads"),
    "lenet": ("LeNet5",),
    "mnist": ("MnistCNN", "MnistFFNN"),
    "network": ("Network",),
    "resnet": (
        *("Plain18", "Plain18Cifar", "Plain20", "Plain34", "Plain34Cifar", "Plain56"),
        *("ResNet18", "ResNet18Cifar", "ResNet20", "ResNet34", "ResNet34Cifar", "ResNet56"),
    ),
    "unet": ("SmallUNet", "SmallUNetPlain", "UNet"),
    "vgg": ("VGG11", "SmallVGG"),
}

__all__ = [
    "VGG11",
    "AlexNet",
    "FCN8s",
    "FastNet",
    "FastNetSmall",
    "GoogLeNet",
    "LeNet5",
    "MnistCNN",
    "MnistFFNN",
    "Network",
    "Plain18",
    "Plain18Cifar",
    "Plain20",
    "Plain34",
    "Plain34Cifar",
    "Plain56",
    "ResNet18",
    "ResNet18Cifar",
    "ResNet20",
    "ResNet34",
    "ResNet34Cifar",
    "ResNet56",
    "SmallFCN8s",
    "SmallFCN32s",
    "SmallUNet",
    "SmallUNetPlain",
    "SmallVGG",
    "UNet",
    "with_auxiliary_heads",
]

__getattr__, __dir__ = attach(__name__, _HOMES)
