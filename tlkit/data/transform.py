"""The one road from an image to what a model sees: decoder, resampler, geometry and sizes, by name.

The packed store, the loader, evaluation and prediction all go through a `Transform`, and a run records it, so that an
original file gives the very pixels that were trained and evaluated on, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from tlkit.config import DEFAULT_STORE_SCALE, GEOMETRIES, MAX_PIXELS
from tlkit.data.decode import decode
from tlkit.data.examine import FINGERPRINT_SIDE
from tlkit.data.resample import RESAMPLERS, Box, resize, simd_available
from tlkit.errors import InputError, unknown_name

DECODERS = ("libjpeg-turbo",)  # Through Pillow or, faster, through simplejpeg: the same pixels, which a test shows.


@dataclass(frozen=True)
class Transform:
    """How an image becomes pixels of one size.

    Attributes:
        image_size: Side of the square that the model sees, in pixels.
        store_size: Side of the square that is stored, at least `image_size`: the room that random crops have.
            Evaluation and prediction take the central `image_size` of it.
        geometry: `"crop"` scales the smaller side to `store_size` and keeps the central square; `"pad"` scales the
            larger side to `image_size` and lays black around; `"squash"` scales both sides to `store_size`.
        decoder: How JPEGs are decoded; other formats are always Pillow's.
        resampler: `"bilinear"`, `"bicubic"` and `"lanczos"` are Pillow's; `"bilinear-simd"` is the package
            `cykooz-resizer` (extra `fast`), four times as fast and at most 2 grey levels of 255 from `"bilinear"`.
            All widen their filters where they reduce, so that nothing aliases.
        max_pixels: Images of more are not decoded: a small file can hold one that fills the memory.
    """

    image_size: int = 224
    store_size: int = 258
    geometry: str = "crop"
    decoder: str = "libjpeg-turbo"
    resampler: str = "bilinear"
    max_pixels: int = MAX_PIXELS

    def __post_init__(self) -> None:
        for kind, value, known in (
            ("geometry", self.geometry, GEOMETRIES),
            ("decoder", self.decoder, DECODERS),
            ("resampler", self.resampler, RESAMPLERS),
        ):
            if value not in known:
                raise unknown_name(kind, value, known)
        if not 1 <= self.image_size <= self.store_size:
            raise InputError(
                f"Expected 1 <= image_size <= store_size. Received: image_size={self.image_size}, "
                f"store_size={self.store_size}."
            )

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages whose versions decide the pixels, as the package index names them."""
        return ("pillow", "cykooz-resizer") if self.resampler == "bilinear-simd" else ("pillow",)

    @property
    def decoded_side(self) -> int:
        """JPEGs may be decoded at a reduced scale whose smaller side keeps this; fingerprints share the decoding."""
        return max(self.store_size, FINGERPRINT_SIDE)

    def to_store(self, image: Image.Image) -> np.ndarray:
        """Brings an upright RGB image to the store's square: uint8 (store_size, store_size, 3)."""
        if self.geometry == "pad":
            return self._padded(image)
        box = _central_square(image) if self.geometry == "crop" else None
        return resize(image, (self.store_size, self.store_size), box, self.resampler)

    def to_model(self, pixels: np.ndarray) -> np.ndarray:
        """Cuts the centre out of stored pixels, uint8: (…, store_size, store_size, 3) to image_size."""
        start = (self.store_size - self.image_size) // 2
        end = start + self.image_size
        return pixels[..., start:end, start:end, :]

    def __call__(self, data: bytes | np.ndarray) -> np.ndarray:
        """Takes a file's bytes, or a uint8 array, to what the model sees: uint8 (image_size, image_size, 3).

        Raises:
            DecodeError: The data give no image.
            InputError: The resampler's package is not installed; `here` names the nearest one that is.
        """
        return np.ascontiguousarray(self.to_model(self.stored(data)))

    def stored(self, data: bytes | np.ndarray) -> np.ndarray:
        """Brings a file's bytes, or a uint8 array, to the store's square: uint8 (store_size, store_size, 3).

        Raises:
            DecodeError: The data give no image.
        """
        return self.to_store(decode(data, smallest_side=self.decoded_side, max_pixels=self.max_pixels).image)

    def here(self) -> tuple[Transform, tuple[str, ...]]:
        """Returns the transform as this environment can run it, and what the user should know about the difference."""
        if self.resampler != "bilinear-simd" or simd_available():
            return self, ()
        note = (
            "The run's images were resized by the package cykooz-resizer, which is not installed here; Pillow stands "
            "in, at most 2 grey levels of 255 away, so predictions may differ slightly from the run's own. "
            "For identical ones: pip install 'tlkit[fast]'."
        )
        return replace(self, resampler="bilinear"), (note,)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields, JSON-able."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Transform:
        """Makes the transform that `to_dict` described.

        Raises:
            InputError: A field or its value is unknown.
        """
        unknown = set(fields) - set(cls.__dataclass_fields__)
        if unknown:
            raise unknown_name("field of a transform", sorted(unknown)[0], cls.__dataclass_fields__)
        return cls(**fields)

    def digest(self) -> str:
        """Returns 16 hex digits that name how stored pixels are made."""
        fields = self.to_dict()
        if self.geometry != "pad":
            del fields["image_size"]  # Cut out of the stored pixels later.
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]

    def _padded(self, image: Image.Image) -> np.ndarray:
        scale = self.image_size / max(image.size)
        width, height = (max(round(side * scale), 1) for side in image.size)
        left, top = (self.store_size - width) // 2, (self.store_size - height) // 2
        canvas = np.zeros((self.store_size, self.store_size, 3), np.uint8)
        canvas[top : top + height, left : left + width] = resize(image, (width, height), None, self.resampler)
        return canvas


def make_transform(
    image_size: int = 224,
    *,
    geometry: str = "crop",
    store_scale: float = DEFAULT_STORE_SCALE,
    max_pixels: int = MAX_PIXELS,
) -> Transform:
    """Makes the transform for a training size, with the fastest resampler installed.

    Args:
        image_size: Side of the square that the model sees, in pixels.
        geometry: `"crop"`, `"pad"` or `"squash"`.
        store_scale: Store size over training size, at least 1: the room for random crops.
        max_pixels: Larger images are set aside.

    Raises:
        InputError: A value out of range.
    """
    if isinstance(image_size, bool) or not isinstance(image_size, int | np.integer):
        raise InputError(f"Expected image_size as a whole number of pixels. Received: {image_size!r}.")
    if not store_scale >= 1:
        raise InputError(f"Expected a store_scale of at least 1. Received: {store_scale}.")
    resampler = "bilinear-simd" if simd_available() else "bilinear"
    return Transform(image_size, round(image_size * store_scale), geometry, resampler=resampler, max_pixels=max_pixels)


def _central_square(image: Image.Image) -> Box:
    side = min(image.size)
    left, top = (image.width - side) / 2, (image.height - side) / 2
    return left, top, left + side, top + side
