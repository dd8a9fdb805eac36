"""The networks to start from: their facts, found by name. Listing them loads no Keras."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tlkit.errors import InputError, unknown_name

FACTS_FILE = Path(__file__).with_name("facts.json")
SCRATCH_FACTS_FILE = Path(__file__).parent.parent / "models" / "facts.json"
PREPROCESSING = ("inside", "tf", "torch", "caffe", "lite", "unit", "grey")
BYTES_PER_MEGABYTE = 2**20  # As in the table of Keras Applications, where 25.6 million float32 weights are 98 MB.

Builder = Callable[..., Any]


@dataclass(frozen=True)
class Stage:
    """A stretch of a network that ends where a single tensor is all that the rest needs.

    Attributes:
        name: What the stage is called.
        layer: Name of its last layer; the network can be cut exactly after it.
    """

    name: str
    layer: str


@dataclass(frozen=True)
class WeightFile:
    """One file of ImageNet weights, as Keras Applications would fetch it.

    Attributes:
        name: File name in the Keras cache.
        url: Where it is downloaded from.
        digest: MD5 or SHA-256 in hexadecimal digits; None where Keras states none.
        top: Whether the file holds the ImageNet head.
        image_size: Side of the images it was trained on; None where one file serves every size.
    """

    name: str
    url: str
    digest: str | None
    top: bool
    image_size: int | None


@dataclass(frozen=True)
class Backbone:
    """What is known of a network before it is built.

    Attributes:
        name: The Keras Applications name in lower case, such as `"resnet50"`.
        family: Networks of one family share their paper and their stages, such as `"ResNet"`.
        build: The function that builds it, or where it is: `"module:function"`. It has the signature of
            `keras.applications`.
        default_image_size: Side in pixels of the images of its ImageNet training or evaluation.
        min_image_size: The smallest side it accepts.
        preprocessing: What its weights want done to raw pixels: one of `PREPROCESSING`. `"inside"`: the network's
            own first layers do it.
        parameters: Weights without the ImageNet head, BatchNormalization statistics included; None if not known.
        parameters_with_top: The same with the ImageNet head.
        depth: Depth as published in the table of Keras Applications; None where none is.
        top1: Published ImageNet validation accuracy in percent; None where none is.
        top5: Share of ImageNet validation images whose class is among the five likeliest, in percent, or None.
        licence: Licence of the ImageNet weights.
        paper: Address of the paper.
        stages: In order from the input.
        weights: Where ImageNet weights come from: `"keras"` (downloaded file), `"packaged"` (an installed package),
            `"own"` (the building function of whoever registered it), `"none"`, or `"random"` where there are none to
            be had because the network is there to be trained from scratch.
        weight_files: The files of `"keras"`.
        auxiliary: Layers that have a classifier of their own in training; see `tlkit.auxiliary`.
    """

    name: str
    family: str
    build: str | Builder
    default_image_size: int = 224
    min_image_size: int = 32
    preprocessing: str = "inside"
    parameters: int | None = None
    parameters_with_top: int | None = None
    depth: int | None = None
    top1: float | None = None
    top5: float | None = None
    licence: str | None = None
    paper: str | None = None
    stages: tuple[Stage, ...] = ()
    weights: str = "own"
    weight_files: tuple[WeightFile, ...] = ()
    auxiliary: tuple[str, ...] = ()

    @property
    def model_name(self) -> str:
        """What models of it are called; TensorFlow takes no colon."""
        return self.name.replace(":", "_")

    @property
    def from_scratch(self) -> bool:
        """Whether it is one of those of `tlkit.models`, which are trained from scratch."""
        return self.weights == "random"

    @property
    def megabytes(self) -> float | None:
        """Size of the weights without the ImageNet head in float32, in units of 2**20 bytes."""
        return None if self.parameters is None else round(4 * self.parameters / BYTES_PER_MEGABYTE, 1)

    def stage_layer(self, name: str) -> str:
        """Returns the last layer of the stage called `name`.

        Raises:
            InputError: There is no such stage.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage.layer
        raise unknown_name(f"stage of {self.name}", name, [stage.name for stage in self.stages])


_registered: dict[str, Backbone] = {}


def get_backbone(name: str) -> Backbone:
    """Finds a backbone by name; `-`, `_`, spaces and case do not matter.

    Args:
        name: Such as `"resnet50"`, `"ResNet-50"` or `"EfficientNet_Lite0"`.

    Raises:
        InputError: There is none of that name; the nearest one is told.
    """
    by_key = {_key(backbone.name): backbone for backbone in _all()}
    try:
        return by_key[_key(name)]
    except KeyError:
        names = [backbone.name for backbone in _all()]
        kind, colon, _ = name.partition(":")
        alike = [known for known in names if known.startswith(kind + ":")] if colon else []
        alike = alike or [known for known in names if _key(known.partition(":")[2]) == _key(name)]
        raise unknown_name("backbone", name, alike or names) from None


def list_backbones(pattern: str = "*") -> tuple[Backbone, ...]:
    """Lists the backbones whose name or family matches a shell pattern, in order of family and size.

    Args:
        pattern: Such as `"resnet*"`; `-`, `_` and case do not matter. A pattern without `*`, `?` or `[` matches names
            that contain it.
    """
    wanted = _key(pattern)
    if not any(sign in wanted for sign in "*?["):
        wanted = f"*{wanted}*"
    return tuple(
        backbone
        for backbone in _all()
        if fnmatch.fnmatchcase(_key(backbone.name), wanted) or fnmatch.fnmatchcase(_key(backbone.family), wanted)
    )


def register_backbone(
    name: str,
    build: str | Builder,
    *,
    preprocessing: str,
    default_image_size: int = 224,
    min_image_size: int = 32,
    stages: Iterable[tuple[str, str]] = (),
    **facts: Any,
) -> Backbone:
    """Makes a network of one's own known under a name, for this process.

    Args:
        name: Its name; no two backbones may have names that differ only in `-`, `_` and case.
        build: A function, or where it is: `"module:function"`. It is called as
            `build(include_top=..., weights=..., input_tensor=...)`, `weights` being None or `"imagenet"`, and returns
            a functional `keras.Model` whose output without top is its last feature map.
        preprocessing: What the network wants done to raw pixels 0-255: `"inside"` (nothing, its own layers do it),
            `"tf"` (-1 to 1), `"torch"` (0 to 1, then ImageNet mean and standard deviation), `"caffe"` (BGR, ImageNet
            mean subtracted), `"lite"` ((x - 127) / 128), `"unit"` (0 to 1) or `"grey"` (the mean of the channels,
            0 to 1).
        default_image_size: Side of the images in pixels when none is asked for.
        min_image_size: The smallest side it accepts.
        stages: Pairs of stage name and last layer, in order from the input.
        **facts: Further fields of `Backbone`, such as `family`, `licence`, `paper`.

    Returns:
        The backbone as registered.

    Raises:
        InputError: The name is taken, or a value is not as expected.

    Example:
        register_backbone("tinynet", my_package.TinyNet, preprocessing="unit", default_image_size=64)
    """
    _check_registration(name, build, preprocessing)
    named = tuple(Stage(*stage) for stage in stages)
    backbone = Backbone(
        name=name,
        build=build,
        preprocessing=preprocessing,
        default_image_size=default_image_size,
        min_image_size=min_image_size,
        stages=named,
        **{"family": name, **facts},
    )
    _registered[_key(name)] = backbone
    return backbone


def unregister_backbone(name: str) -> None:
    """Forgets a backbone that `register_backbone` made known.

    Raises:
        InputError: No backbone of that name was registered.
    """
    if _key(name) not in _registered:
        raise unknown_name("registered backbone", name, [backbone.name for backbone in _registered.values()])
    del _registered[_key(name)]


def _check_registration(name: str, build: str | Builder, preprocessing: str) -> None:
    if preprocessing not in PREPROCESSING:
        raise unknown_name("preprocessing", preprocessing, PREPROCESSING)
    if not _key(name):
        raise InputError(f"Expected a backbone name with a letter or digit. Received: {name!r}.")
    taken = {_key(backbone.name): backbone.name for backbone in _all()}
    if _key(name) in taken:
        raise InputError(f"Expected a new backbone name. Received: {name!r}, taken by {taken[_key(name)]!r}.")
    if not callable(build) and build.count(":") != 1:
        raise InputError(f"Expected a function or 'module:function' that builds {name}. Received: {build!r}.")


def _all() -> tuple[Backbone, ...]:
    return (*_shipped(), *_registered.values())


@cache
def _shipped() -> tuple[Backbone, ...]:
    """Reads the facts files; their order is that of the listing."""
    files = (FACTS_FILE, SCRATCH_FACTS_FILE)
    return tuple(_from_facts(entry) for file in files for entry in json.loads(file.read_text(encoding="utf-8")))


def _from_facts(entry: dict[str, Any]) -> Backbone:
    stages = tuple(Stage(name, layer) for name, layer in entry["stages"].items())
    files = tuple(WeightFile(**file) for file in entry["weight_files"])
    auxiliary = tuple(entry.get("auxiliary", ()))
    return Backbone(**{**entry, "stages": stages, "weight_files": files, "auxiliary": auxiliary})


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").replace(" ", "")
