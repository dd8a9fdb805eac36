"""Where a backbone's weights come from: the Keras cache, the network, a package, or a file of the user's."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tlkit.backbones.download import DownloadError, download, file_digest
from tlkit.backbones.registry import Backbone, WeightFile
from tlkit.console import OnProgress
from tlkit.errors import InputError, unknown_name

WAYS_ON = "Use --weights FILE, --weights none (random weights), or --backbone efficientnet_lite0 (packaged weights)."
FILE_SUFFIXES = (".h5", ".hdf5", ".keras")


@dataclass(frozen=True)
class WeightSource:
    """What fills a network with weights.

    Attributes:
        kind: `"none"` (random), `"published"` (a file of Keras Applications, at `path`), `"builder"` (the building
            function itself) or `"file"` (the user's, at `path`).
        path: The file.
    """

    kind: str
    path: Path | None = None


def find_weights(
    backbone: Backbone,
    weights: str | Path,
    *,
    image_size: int,
    include_top: bool = False,
    on_progress: OnProgress | None = None,
) -> WeightSource:
    """Finds, and where necessary downloads, the weights asked for.

    Args:
        backbone: Whose weights.
        weights: `"imagenet"` (random ones for the networks of `tlkit.models`), `"none"` or the path of a file.
        image_size: Side of the images in pixels; two families have files for several sizes.
        include_top: Whether the ImageNet head is wanted too.
        on_progress: Called with (bytes done, bytes in all) while a file is downloaded.

    Raises:
        InputError: They cannot be had; what to do is told.
    """
    if weights == "none" or (backbone.from_scratch and weights == "imagenet" and not include_top):
        return WeightSource("none")
    if weights != "imagenet":
        return WeightSource("file", _require_file(weights))
    if backbone.weights == "keras":
        file = published_file(backbone, image_size, include_top)
        return WeightSource("published", fetch_published(backbone, file, on_progress))
    if backbone.weights in ("none", "random"):
        raise InputError(
            f"Expected weights 'none' or a file for {backbone.name}, which has no ImageNet weights. {WAYS_ON}"
        )
    return WeightSource("builder")


def published_file(backbone: Backbone, image_size: int, include_top: bool) -> WeightFile:
    """Chooses the file that `keras.applications` would use for images of this size."""
    files = [file for file in backbone.weight_files if file.top == include_top]
    if len(files) == 1:
        return files[0]
    by_size = {file.image_size: file for file in files}
    return by_size.get(image_size) or by_size[backbone.default_image_size]


def keras_cache() -> Path:
    """Returns the folder where Keras keeps downloaded weights; `KERAS_HOME` moves it, as it does for Keras."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras").expanduser() / "models"


def fetch_published(backbone: Backbone, file: WeightFile, on_progress: OnProgress | None = None) -> Path:
    """Returns the path of a published weights file in the Keras cache, downloading it if it is not there.

    Raises:
        InputError: It is not there and cannot be had; the file, the places looked at and the ways on are told.
    """
    path = keras_cache() / file.name
    found = "is not there"
    if path.is_file():
        if file.digest is None or file_digest(path, file.digest) == file.digest:
            return path
        found = "is there but damaged (its digest differs)"
    try:
        download(file.url, path, digest=file.digest, on_progress=on_progress)
    except (DownloadError, OSError) as error:
        raise InputError(
            f"Expected the ImageNet weights of {backbone.name}, file {file.name}. It {found} in {path.parent}, and "
            f"{file.url} could not be downloaded: {error}. {WAYS_ON}"
        ) from error
    return path


def _require_file(weights: str | Path) -> Path:
    path = Path(weights).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise InputError(f"Expected a weights file ({', '.join(FILE_SUFFIXES)}). Received: {weights}, a folder.")
    if path.suffix.lower() in FILE_SUFFIXES or len(path.parts) > 1:
        raise InputError(f"Expected a weights file. Received: {weights}, which does not exist.")
    raise unknown_name("weights", str(weights), ("imagenet", "none", "a file ending in .weights.h5, .h5 or .keras"))
