"""JPEG pixels by the package `simplejpeg`: Pillow's own library without Pillow's detours, bit for bit the same."""

from __future__ import annotations

import importlib.util
from functools import cache
from types import ModuleType

from PIL import Image, ImageFile


def simplejpeg_available() -> bool:
    """Tells whether the package `simplejpeg` is installed (extra `fast`)."""
    return importlib.util.find_spec("simplejpeg") is not None


def load_jpeg(opened: ImageFile.ImageFile, data: bytes) -> Image.Image | None:
    """Decodes an opened JPEG at the scale that its `draft` chose.

    Args:
        opened: The file as `PIL.Image.open` gives it, `draft` called, `load` not.
        data: The file's bytes.

    Returns:
        The pixels, mode `RGBX` (RGB with an unused fourth byte, which saves copying them apart), or None where Pillow
        must do it: colours other than YCbCr, and files with anything irregular, so that both judge those alike.
    """
    if opened.mode != "RGB":
        return None
    try:
        pixels = _simplejpeg().decode_jpeg(data, "RGBX", min_height=opened.height, min_width=opened.width)
    except ValueError:
        return None
    height, width = pixels.shape[:2]
    if (width, height) != opened.size:
        return None
    return Image.frombuffer("RGBX", opened.size, pixels, "raw", "RGBX", 0, 1)


@cache
def _simplejpeg() -> ModuleType:
    import simplejpeg

    return simplejpeg
