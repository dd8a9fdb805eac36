"""From any colour mode that Pillow or NumPy has to 8-bit RGB, scaled rather than clipped."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageCms

WHITE = (255, 255, 255)
FULL_16_BIT = 65535


def to_rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Converts a loaded image of any mode to RGB, alpha laid onto white.

    Returns:
        The RGB image, and one line for each thing done that a person may want to know.
    """
    if _has_alpha(image):
        return _onto_white(image.convert("RGBA")), ["alpha laid onto white"]
    if image.mode in ("RGB", "RGBX"):
        return image, []
    if image.mode.startswith("I") or image.mode == "F":
        return _wide_to_rgb(image)
    if image.mode == "LAB":
        return _lab_to_rgb(image), ["converted from LAB"]
    if image.mode == "CMYK":
        return image.convert("RGB"), ["converted from CMYK without its profile"]
    return image.convert("RGB"), []


def array_to_rgb(array: np.ndarray) -> tuple[Image.Image, str, list[str]]:
    """Converts an array (height, width[, 1, 3 or 4]) of uint8, uint16 or bool to RGB.

    Returns:
        The RGB image, the mode it had in Pillow's words, and notes as from `to_rgb`.

    Raises:
        ValueError: Another data type, or another number of channels.
    """
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 3 and array.shape[2] not in (3, 4):
        raise ValueError(f"Expected 1, 3 or 4 channels, last. Received: shape {array.shape}.")
    image = Image.fromarray(np.ascontiguousarray(_to_uint8(array)))
    rgb, notes = to_rgb(image)
    return rgb, image.mode, notes


def _to_uint8(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return _scale(array.astype(np.float32), FULL_16_BIT)
    raise ValueError(f"Expected pixels of uint8, uint16 or bool. Received: {array.dtype}.")


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info


def _onto_white(image: Image.Image) -> Image.Image:
    background = Image.new("RGBA", image.size, (*WHITE, 255))
    background.alpha_composite(image)
    return background.convert("RGB")


def _wide_to_rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    """Scales grey of more than 8 bits: from the full range of 16 bits where the file has those, else as values span."""
    pixels = np.asarray(image).astype(np.float32)
    finite = np.isfinite(pixels)
    pixels = np.where(finite, pixels, 0)
    highest, lowest = float(pixels.max()), float(pixels.min())
    if image.mode.startswith("I;16"):
        grey, note = _scale(pixels, FULL_16_BIT), "16-bit grey scaled to 8 bits"
    elif lowest >= 0 and highest <= 1 and image.mode == "F":
        grey, note = _scale(pixels, 1), "floating-point grey of 0 to 1 scaled to 8 bits"
    elif lowest >= 0 and highest <= 255:
        grey, note = _scale(pixels, 255), "wide grey within 0 to 255 rounded to 8 bits"
    elif lowest >= 0 and highest <= FULL_16_BIT and image.mode == "I":
        grey, note = _scale(pixels, FULL_16_BIT), "16-bit grey scaled to 8 bits"
    else:
        grey, note = _scale(pixels - lowest, max(highest - lowest, 1e-30)), "wide grey stretched to 8 bits"
    return Image.fromarray(grey).convert("RGB"), [note]


def _scale(pixels: np.ndarray, full: float) -> np.ndarray:
    return np.rint(np.clip(pixels * (255.0 / full), 0, 255)).astype(np.uint8)


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    if converted is None:
        raise ValueError("LAB could not be converted to RGB")
    return converted
