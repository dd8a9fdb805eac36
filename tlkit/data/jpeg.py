"""JPEG pixels by the package `simplejpeg`: Pillow's own library without Pillow's detours, bit for bit the same."""

from __future__ import annotations

import sys
import threading

import numpy as np
from PIL import Image, ImageFile

try:
    import simplejpeg
except ImportError:  # An extra; Pillow decodes every JPEG without it.
    simplejpeg = None

KEPT_BYTES = 4 << 20  # Images of up to a megapixel share one buffer a thread; fresh memory costs a tenth of the time.
ONE_OWNER = 2  # What `sys.getrefcount` tells of an object that only the list in `_of_thread` refers to.

_of_thread = threading.local()


def simplejpeg_available() -> bool:
    """Tells whether the package `simplejpeg` is installed (extra `fast`)."""
    return simplejpeg is not None


def load_jpeg(opened: ImageFile.ImageFile, data: bytes) -> Image.Image | None:
    """Decodes an opened JPEG at the scale that its `draft` chose.

    Args:
        opened: The file as `PIL.Image.open` gives it, `draft` called, `load` not.
        data: The file's bytes.

    Returns:
        The pixels, mode `RGBX` (RGB with an unused fourth byte, which saves copying them apart), or None where Pillow
        must do it: colours other than YCbCr, and files with anything irregular, so that both judge those alike.
    """
    if simplejpeg is None or opened.mode != "RGB":
        return None
    width, height = opened.size
    try:
        pixels = simplejpeg.decode_jpeg(
            data, "RGBX", min_height=height, min_width=width, buffer=_buffer(4 * width * height)
        )
    except ValueError:
        return None
    if pixels.shape[:2] != (height, width):
        return None
    image = Image.frombuffer("RGBX", opened.size, pixels, "raw", "RGBX", 0, 1)
    image.tlkit_pixels = pixels  # type: ignore[attr-defined]
    return image


def pixels_of(image: Image.Image) -> np.ndarray | None:
    """Returns the memory of an image from `load_jpeg`, uint8 (height, width, 4), or None where it has none to show."""
    return getattr(image, "tlkit_pixels", None) if image.readonly else None  # An image that is changed gets a copy.


def _buffer(size: int) -> np.ndarray:
    """Returns memory for an image: this thread's own once nothing shows it any more, else fresh."""
    if size > KEPT_BYTES:
        return np.empty(size, np.uint8)
    kept: list[np.ndarray] = _of_thread.__dict__.setdefault("kept", [])
    if not kept or sys.getrefcount(kept[0]) > ONE_OWNER:
        kept[:] = [np.empty(KEPT_BYTES, np.uint8)]
    return kept[0]
