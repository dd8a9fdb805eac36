"""Which image format some bytes hold, by their content, and in which words it is told that they hold none."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
import re
import threading
import warnings
from collections.abc import Iterator
from typing import Any, Literal, get_args

from PIL import Image, ImageFile, features

from tlkit.errors import InputError

ProblemKind = Literal["empty", "not an image", "truncated", "unreadable", "too large", "no decoder"]
PROBLEM_KINDS: tuple[str, ...] = get_args(ProblemKind)

# Pillow reads more, but EPS and WMF start another program or the system's renderer, and the formats without a
# signature (TGA, IM, MPEG, ...) take any bytes for their own.
FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "DIB", "ICO", "CUR", "ICNS", "PCX"),
    *("DCX", "PSD", "QOI", "SGI", "SUN", "DDS", "FTEX", "BLP", "MSP", "FLI", "FITS", "XBM", "XPM"),
)
# The first bytes of these are sure enough to say "a broken PNG"; those of the others also begin other files.
SURE_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000", "PSD", "QOI", "DDS")
TGA_FOOTER = b"TRUEVISION-XFILE.\0"  # The newer TGA's only signature, at the end of the file.

# The two bytes at the start of an ISO base media file's brand, and what such a file is.
HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
SIGNATURES = (
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"8BPB", "PSB"),
    (b"FUJIFILMCCD-RAW", "Fujifilm raw"),
)

logging.getLogger("PIL").addHandler(logging.NullHandler())  # Else Python prints Pillow's log on standard error.


class DecodeError(InputError):
    """These bytes give no image; `kind` says why in one of `PROBLEM_KINDS`, the message in one line."""

    def __init__(self, kind: ProblemKind, message: str):
        super().__init__(" ".join(message.split()))
        self.kind: ProblemKind = kind

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.kind, str(self))


def open_image(data: bytes) -> ImageFile.ImageFile:
    """Finds the format by content and reads the header; unlike `Image.open` without a warning or a limit of its own.

    Raises:
        DecodeError: No format fits, or the one that fits has a broken header.
    """
    Image.init()
    formats = [*FORMATS, *(["TGA"] if data.endswith(TGA_FOOTER) else []), *_heif_formats(data)]
    refused: tuple[str, Exception] | None = None
    for name in formats:
        try:
            opened = _open_as(name, data)
        except Exception as error:  # "Mine, but broken", in the plugin's own words; the next may know better.
            refused = refused or ((name, error) if name in SURE_FORMATS else None)
            continue
        if opened is not None:
            return opened
    known = name_without_decoder(data)
    if known:
        raise DecodeError("no decoder", known)
    if refused:
        raise as_decode_error(refused[1], refused[0], data)
    raise DecodeError("not an image", f"Not an image: {describe_start(data)}.")


def _open_as(name: str, data: bytes) -> ImageFile.ImageFile | None:
    if name not in Image.OPEN:
        return None
    factory, accept = Image.OPEN[name]
    accepted = accept(data[:16]) if accept else True
    if not accepted or isinstance(accepted, str):  # A text says that Pillow was built without this decoder.
        return None
    return factory(io.BytesIO(data), "")


def _heif_formats(data: bytes) -> list[str]:
    if data[4:8] != b"ftyp" or data[8:12] not in HEIF_BRANDS:
        return []
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return []
    return ["HEIF"]


def name_without_decoder(data: bytes) -> str:
    """Returns one line on a known image format that nothing installed here reads, or an empty text."""
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        if brand in HEIF_BRANDS and not importlib.util.find_spec("pillow_heif"):
            return "A HEIC image, and pillow-heif is not installed. Remedy: pip install 'tlkit[heif]'."
        if brand in (b"avif", b"avis") and not features.check("avif"):
            return "An AVIF image, and this Pillow was built without AVIF."
        if brand == b"crx ":
            return "A Canon raw image (CR3): export it as JPEG, PNG or TIFF."
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and not features.check("webp"):
        return "A WebP image, and this Pillow was built without WebP."
    if b"<svg" in data[:1024]:
        return "An SVG drawing: export it as PNG."
    for signature, name in SIGNATURES:
        if data.startswith(signature):
            return f"{name} is not read here: export it as JPEG, PNG or TIFF."
    return ""


def describe_start(data: bytes) -> str:
    """Returns a few words on what these bytes look like, for people who wonder what is in the file."""
    if data[:5] == b"%PDF-":
        return "it is a PDF document"
    if data[:4] == b"PK\x03\x04":
        return "it is a zip archive or an Office document"
    if data[4:8] == b"ftyp":
        return "it is a video or another media file"
    if re.match(rb"\s*<(!doctype html|html|head|body|\?xml)", data[:256], re.IGNORECASE):
        return "it is a web page or XML, perhaps a failed download"
    if data.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer; fetch the file itself with git lfs pull"
    if not data.strip(b"\0"):
        return "it holds nothing but zero bytes"
    return f"it starts with {data[:8]!r}"


def as_decode_error(error: Exception, name: str, data: bytes) -> DecodeError:
    """Puts what Pillow raised on an image of the format `name` into one of our kinds and one line."""
    if isinstance(error, DecodeError):
        return error
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, Image.DecompressionBombError | MemoryError):
        return DecodeError("too large", f"The {name} image is too large to decode: {text}.")
    told = re.search(r"truncat|unexpected end|end of (file|data)|incomplete", text, re.IGNORECASE)
    if told or isinstance(error, EOFError) or breaks_off(name, data):
        return DecodeError("truncated", f"The {name} image breaks off: {text}.")
    return DecodeError("unreadable", f"The {name} image cannot be decoded: {text}.")


def breaks_off(name: str, data: bytes) -> bool:
    """Tells by the marks of its format whether a file is cut short."""
    if name == "JPEG":  # An end marker before the last scan belongs to an embedded thumbnail.
        end = data.rfind(b"\xff\xd9")
        return end == -1 or data.find(b"\xff\xda", end) != -1 or b"\xff\xda" not in data
    if name == "PNG":
        return b"IEND" not in data[-64:]
    if name == "GIF":
        return not data.rstrip(b"\0").endswith(b";")
    if name == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if name in ("AVIF", "HEIF"):
        return _boxes_break_off(data)
    return False


def _boxes_break_off(data: bytes) -> bool:
    """An ISO base media file is a row of boxes, each with its size before it; 0 is the rest, 1 a size of 64 bits."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size == 0:
            return False
        at += max(size, 8)
    return at > len(data)


_QUIET: tuple[Any, ...] = ("ignore", None, Warning, re.compile(r"PIL\."), 0)
_quiet_lock = threading.Lock()
_quiet_users = 0


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keeps Pillow's warnings about odd files from the user while any thread decodes.

    `warnings.catch_warnings` swaps the filters of the whole process and two threads in it undo each other; this adds
    one filter with the first thread in and takes it away with the last one out.
    """
    global _quiet_users
    with _quiet_lock:
        _quiet_users += 1
        if _QUIET not in warnings.filters:
            warnings.filters.insert(0, _QUIET)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_users -= 1
            if not _quiet_users:
                with contextlib.suppress(ValueError):
                    warnings.filters.remove(_QUIET)  # type: ignore[attr-defined]
