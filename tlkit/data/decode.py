"""From a file's bytes, or an array, to one upright RGB image: what is believed is the content, never the name.

The first frame of an animation is taken, EXIF orientation is applied, alpha is laid onto white, 16-bit and CMYK pixels
are scaled to 8-bit RGB. Colour profiles (ICC) are left alone, as they were for the pictures behind ImageNet weights.
Nothing here prints or warns, and a truncated file is an error: `PIL.ImageFile.LOAD_TRUNCATED_IMAGES` is never set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile

from tlkit.config import MAX_PIXELS
from tlkit.data.colour import array_to_rgb, to_rgb
from tlkit.data.formats import DecodeError, as_decode_error, breaks_off, open_image, quiet_pillow
from tlkit.data.jpeg import load_jpeg

ORIENTATION_TAG = 0x0112  # EXIF 2.32, section 4.6.4: 1 is upright, 5 to 8 swap width and height.
TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Decoded:
    """An image as the rest of the library wants it, with what was seen on the way.

    Attributes:
        image: RGB, upright, alpha laid onto white; mode `RGBX`, the fourth byte unused, where `load_jpeg` decoded it.
        format: Pillow's name of the file format, such as `"JPEG"`, or `"array"`.
        mode: Pillow's mode before conversion, such as `"CMYK"`.
        width: Width in pixels after EXIF orientation and before any reduction.
        height: Height in pixels, likewise.
        frames: Number of frames in the file, of which the first is used.
        notes: One line each on what was done or left undone.
    """

    image: Image.Image
    format: str
    mode: str
    width: int
    height: int
    frames: int
    notes: tuple[str, ...] = ()


def decode(
    data: bytes | np.ndarray, *, smallest_side: int | None = None, max_pixels: int | None = MAX_PIXELS
) -> Decoded:
    """Decodes one image.

    Args:
        data: A file's bytes, or an array (height, width), (…, 1), (…, 3) or (…, 4) of uint8, uint16 or bool.
        smallest_side: A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size as long as its smaller side keeps at least
            this many pixels. None decodes every file whole.
        max_pixels: Images with more pixels than this, by their header, are refused before decoding. None is no limit.

    Raises:
        DecodeError: The data give no image.
    """
    if isinstance(data, np.ndarray):
        return _decode_array(data, max_pixels)
    if not data:
        raise DecodeError("empty", "The file is empty (0 bytes).")
    with quiet_pillow():
        opened = open_image(data)
        _check_size(opened.size, max_pixels)
        try:
            return _decode_opened(opened, data, smallest_side)
        except DecodeError:
            raise
        except Exception as error:  # Pillow's plugins raise a dozen kinds on bad bytes; each means the same here.
            raise as_decode_error(error, opened.format or "", data) from error


def _decode_opened(opened: ImageFile.ImageFile, data: bytes, smallest_side: int | None) -> Decoded:
    mode, (width, height) = opened.mode, opened.size
    frames = _count_frames(opened)
    loaded: Image.Image | None = None
    if opened.format in ("JPEG", "MPO"):
        if breaks_off("JPEG", data):  # libjpeg fills the zeros of an unfinished download with grey and says nothing.
            raise DecodeError("truncated", "The JPEG image breaks off: no end marker after its last scan.")
        if smallest_side:
            opened.draft(None, (smallest_side, smallest_side))
        loaded = load_jpeg(opened, data)
    reduced = opened.size != (width, height)
    if loaded is None:
        opened.load()
    image, notes = to_rgb(loaded or opened)
    orientation = _orientation(opened)
    if orientation in TRANSPOSITIONS:
        image = image.transpose(TRANSPOSITIONS[orientation])
        notes.append("turned upright as its EXIF orientation says")
    if opened.info.get("icc_profile"):
        notes.append("colour profile left alone")
    if frames > 1:
        notes.append(f"first of {frames} frames taken")
    if not reduced:
        width, height = image.size
    elif orientation >= 5:
        width, height = height, width
    return Decoded(image, opened.format or "", mode, width, height, frames, tuple(notes))


def _decode_array(array: np.ndarray, max_pixels: int | None) -> Decoded:
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise DecodeError("unreadable", f"Expected an array (height, width[, 3]). Received: shape {array.shape}.")
    height, width = array.shape[:2]
    _check_size((width, height), max_pixels)
    try:
        image, mode, notes = array_to_rgb(array)
    except ValueError as error:
        raise DecodeError("unreadable", str(error)) from error
    return Decoded(image, "array", mode, width, height, 1, tuple(notes))


def _check_size(size: tuple[int, int], max_pixels: int | None) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise DecodeError("unreadable", f"The header tells a size of {width} x {height} pixels.")
    if max_pixels is not None and width * height > max_pixels:
        received = f"{width:,} x {height:,} = {width * height:,} pixels"
        raise DecodeError("too large", f"{received}; the limit is {max_pixels:,} (adjustable: max_pixels).")


def _count_frames(opened: ImageFile.ImageFile) -> int:
    try:
        frames = int(getattr(opened, "n_frames", 1))
        opened.seek(0)
    except Exception:  # A later frame is broken; the first, which alone is used, may still be whole.
        return 1
    return max(frames, 1)


def _orientation(opened: ImageFile.ImageFile) -> int:
    try:
        return int(opened.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # Broken EXIF data say nothing about the pixels.
        return 1
