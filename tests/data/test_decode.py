"""Every format and colour mode becomes the same upright RGB picture; every kind of broken bytes its own error."""

from __future__ import annotations

import io
import struct
import sys
import threading
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageFile
from sklearn.datasets import load_sample_images

from tests.data.pictures import PHOTO, encode
from tlkit.data.decode import MAX_PIXELS, TRANSPOSITIONS, decode
from tlkit.data.examine import Facts, examine
from tlkit.data.formats import DecodeError
from tlkit.data.scanning import facts_table
from tlkit.errors import InputError


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean absolute difference in grey levels."""
    return float(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).mean())


FORMATS = {
    "JPEG": ({"quality": 95}, 4.0),
    "PNG": ({}, 0.0),
    "WEBP": ({"lossless": True}, 0.0),
    "GIF": ({}, 8.0),
    "BMP": ({}, 0.0),
    "TIFF": ({}, 0.0),
    "AVIF": ({"quality": 90}, 4.0),
    "JPEG2000": ({}, 1.0),
    "PPM": ({}, 0.0),
    "ICO": ({"sizes": [(160, 120)]}, 0.0),
    "PCX": ({}, 0.0),
    "SGI": ({}, 0.0),
    "DDS": ({}, 0.0),
    "QOI": ({}, 0.0),
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_recognised_by_content_alone(name: str):
    options, tolerance = FORMATS[name]
    decoded = decode(encode(PHOTO, name, **options))
    assert (decoded.format, decoded.width, decoded.height) == (name, 160, 120)
    assert decoded.image.size == (160, 120)
    assert decoded.image.mode == "RGB" or (decoded.image.mode == "RGBX" and name == "JPEG")
    assert difference(decoded.image.convert("RGB"), PHOTO) <= tolerance


def test_targa_is_recognised_by_its_footer_only():
    data = encode(PHOTO, "TGA")
    assert difference(decode(data).image, PHOTO) == 0
    with pytest.raises(DecodeError, match="Not an image"):
        decode(data.removesuffix(data[-26:]))


@pytest.mark.parametrize("progressive", [False, True])
def test_progressive_jpeg(progressive: bool):
    decoded = decode(encode(PHOTO, "JPEG", quality=95, progressive=progressive))
    assert difference(decoded.image.convert("RGB"), PHOTO) < 4


def with_orientation(name: str, orientation: int) -> bytes:
    """A picture stored so that the orientation tag brings it back upright."""
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    method = inverse.get(orientation, TRANSPOSITIONS.get(orientation))
    stored = PHOTO if method is None else PHOTO.transpose(method)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encode(stored, name, exif=exif, **({"quality": 95} if name == "JPEG" else {}))


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(name: str, orientation: int):
    decoded = decode(with_orientation(name, orientation))
    assert (decoded.width, decoded.height) == decoded.image.size == (160, 120)
    assert difference(decoded.image.convert("RGB"), PHOTO) < 6


def test_orientation_of_a_reduced_jpeg():
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    decoded = decode(encode(PHOTO.resize((1600, 1200)), "JPEG", exif=exif), smallest_side=300)
    assert (decoded.width, decoded.height) == (1200, 1600)
    assert decoded.image.size == (300, 400)


@pytest.mark.parametrize(
    ("side", "size"), [(None, (1600, 1200)), (700, (1600, 1200)), (600, (800, 600)), (1, (200, 150))]
)
def test_reduction_keeps_the_smaller_side(side: int | None, size: tuple[int, int]):
    decoded = decode(encode(PHOTO.resize((1600, 1200)), "JPEG"), smallest_side=side)
    assert decoded.image.size == size
    assert (decoded.width, decoded.height) == (1600, 1200)


def half_transparent() -> Image.Image:
    image = Image.new("RGBA", (20, 10), (200, 0, 0, 255))
    image.paste((0, 0, 0, 0), (10, 0, 20, 10))
    image.paste((0, 0, 200, 128), (0, 0, 5, 10))
    return image


@pytest.mark.parametrize("name", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_onto_white(name: str):
    decoded = decode(encode(half_transparent(), name, **({"lossless": True} if name == "WEBP" else {})))
    assert decoded.image.getpixel((15, 5)) == (255, 255, 255)
    assert decoded.image.getpixel((7, 5)) == (200, 0, 0)
    assert decoded.image.getpixel((2, 5)) == pytest.approx((127, 127, 228), abs=1)
    assert "alpha laid onto white" in decoded.notes


def test_grey_with_alpha_palette_with_transparency_and_a_transparent_colour():
    grey = Image.new("LA", (4, 4), (10, 0))
    assert decode(encode(grey, "PNG")).image.getpixel((0, 0)) == (255, 255, 255)
    palette = half_transparent().quantize(8)
    decoded = decode(encode(palette, "PNG"))
    assert decoded.mode == "P"
    assert decoded.image.getpixel((15, 5)) == (255, 255, 255)
    single = Image.new("P", (4, 4), 1)
    single.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    single.putpixel((0, 0), 2)
    decoded = decode(encode(single, "PNG", transparency=2))
    assert [decoded.image.getpixel(at) for at in ((0, 0), (1, 1))] == [(255, 255, 255), (255, 0, 0)]
    keyed = Image.new("RGB", (4, 4), (1, 2, 3))
    assert decode(encode(keyed, "PNG", transparency=(1, 2, 3))).image.getpixel((0, 0)) == (255, 255, 255)


def test_16_bit_grey_is_scaled_not_clipped():
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    for name in ("PNG", "TIFF"):
        decoded = decode(encode(Image.fromarray(ramp), name))
        assert np.array_equal(np.asarray(decoded.image)[..., 0].ravel(), np.arange(256)), name
    assert np.array_equal(np.asarray(decode(ramp).image)[..., 1].ravel(), np.arange(256))


def png_of_16_bit_rgb() -> bytes:
    """A 2 x 1 PNG of 16 bits a channel, which Pillow reads but does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + struct.pack(">6H", 65535, 32768, 0, 256, 255, 40000)
    head = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")


def test_16_bit_colour_is_scaled():
    image = decode(png_of_16_bit_rgb()).image
    assert image.getpixel((0, 0)) == pytest.approx((255, 128, 0), abs=1)
    assert image.getpixel((1, 0)) == pytest.approx((1, 1, 156), abs=1)


def test_wide_and_floating_grey():
    floats = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    assert np.array_equal(
        np.asarray(decode(encode(Image.fromarray(floats), "TIFF")).image)[..., 0].ravel(), np.arange(256)
    )
    bytes_as_floats = np.arange(256, dtype=np.float32).reshape(16, 16)
    decoded = decode(encode(Image.fromarray(bytes_as_floats), "TIFF"))
    assert np.array_equal(np.asarray(decoded.image)[..., 0].ravel(), np.arange(256))
    wide = (np.arange(256, dtype=np.int32) * 100_000).reshape(16, 16)
    decoded = decode(encode(Image.fromarray(wide), "TIFF"))
    assert np.array_equal(np.asarray(decoded.image)[..., 0].ravel(), np.arange(256))
    assert decoded.notes == ("wide grey stretched to 8 bits",)
    holed = floats.copy()
    holed[0, 0] = np.nan
    assert decode(encode(Image.fromarray(holed), "TIFF")).image.getpixel((0, 0)) == (0, 0, 0)


def test_cmyk_jpeg_is_not_inverted():
    decoded = decode(encode(PHOTO.convert("CMYK"), "JPEG", quality=95))
    assert (decoded.mode, decoded.image.mode) == ("CMYK", "RGB")
    assert difference(decoded.image, PHOTO) < 3


def test_other_modes():
    assert decode(encode(PHOTO.convert("1"), "PNG")).image.mode == "RGB"
    assert (
        difference(decode(encode(PHOTO.convert("L"), "JPEG", quality=95)).image, PHOTO.convert("L").convert("RGB")) < 2
    )
    profile = ImageCms.createProfile
    lab = ImageCms.profileToProfile(PHOTO, profile("sRGB"), profile("LAB"), outputMode="LAB")
    assert difference(decode(encode(lab, "TIFF")).image, PHOTO) < 4


def test_first_frame_of_animations():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for name in ("GIF", "PNG", "WEBP", "TIFF"):
        lossless = {"lossless": True} if name == "WEBP" else {}
        decoded = decode(encode(frames[0], name, save_all=True, append_images=frames[1:], **lossless))
        assert decoded.frames == 3, name
        assert decoded.image.getpixel((3, 3)) == (255, 0, 0), name
        assert "first of 3 frames taken" in decoded.notes


def test_colour_profile_is_left_alone_and_said():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    decoded = decode(encode(PHOTO, "PNG", icc_profile=profile))
    assert "colour profile left alone" in decoded.notes
    assert difference(decoded.image, PHOTO) == 0


ARRAYS = [
    (np.full((3, 5), 7, np.uint8), (7, 7, 7)),
    (np.full((3, 5, 1), 7, np.uint8), (7, 7, 7)),
    (np.full((3, 5, 3), 7, np.uint8), (7, 7, 7)),
    (np.dstack([np.full((3, 5, 3), 7, np.uint8), np.zeros((3, 5, 1), np.uint8)]), (255, 255, 255)),
    (np.ones((3, 5), bool), (255, 255, 255)),
    (np.full((3, 5), 65535, np.uint16), (255, 255, 255)),
    (np.full((6, 10), 7, np.uint8)[::2, ::2], (7, 7, 7)),
]


@pytest.mark.parametrize(("array", "pixel"), ARRAYS)
def test_arrays(array: np.ndarray, pixel: tuple[int, ...]):
    decoded = decode(array)
    assert (decoded.format, decoded.width, decoded.height, decoded.image.mode) == ("array", 5, 3, "RGB")
    assert decoded.image.getpixel((4, 2)) == pixel


@pytest.mark.parametrize(
    "array", [np.zeros((2, 2)), np.zeros((2, 2, 2), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 4), np.uint8)]
)
def test_arrays_that_are_no_image(array: np.ndarray):
    with pytest.raises(DecodeError, match="Expected"):
        decode(array)


# --- broken bytes ---


def test_the_limit_on_pixels_is_stated_and_can_be_moved():
    data = encode(PHOTO, "PNG")
    with pytest.raises(DecodeError, match=r"160 x 120 = 19,200 pixels; the limit is 19,199"):
        decode(data, max_pixels=19_199)
    assert decode(data, max_pixels=19_200).image.size == (160, 120)
    assert MAX_PIXELS < 10**8


def test_pillows_own_limit_does_not_interfere(monkeypatch: pytest.MonkeyPatch):
    data = encode(PHOTO, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(data))
    assert decode(data).width == 160
    assert decode(data, max_pixels=None).width == 160


def odd_tiff() -> bytes:
    """A TIFF whose tags libtiff and Pillow grumble about, though its pixels are whole."""
    data = bytearray(encode(PHOTO, "TIFF", compression="tiff_lzw", tiffinfo={40000: "y" * 20}))
    data[4:8] = struct.pack("<I", struct.unpack("<I", data[4:8])[0])
    at = struct.unpack("<I", data[4:8])[0]
    entries = struct.unpack("<H", data[at : at + 2])[0]
    for entry in range(entries):
        start = at + 2 + 12 * entry
        tag = struct.unpack("<H", data[start : start + 2])[0]
        if tag == 40000:
            data[start + 8 : start + 12] = struct.pack("<I", 10**9)
    return bytes(data)


def corrupt_exif() -> bytes:
    return encode(
        PHOTO, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0" + b"\x12\x01\x03\0\xff\xff\xff\x7f" + b"\xff" * 30
    )


@pytest.mark.parametrize("data", [odd_tiff(), corrupt_exif(), encode(half_transparent().quantize(8), "PNG")])
def test_grumbling_decoders_stay_silent(data: bytes, capfd: pytest.CaptureFixture[str]):
    before = list(warnings.filters)
    assert decode(data).image.mode in ("RGB", "RGBX")
    assert capfd.readouterr() == ("", "")
    assert warnings.filters == before
    with pytest.warns(UserWarning, match="from elsewhere"):
        warnings.warn("from elsewhere", stacklevel=1)


def test_silence_holds_in_threads_and_ends_with_them():
    before = list(warnings.filters)
    problems: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(30):
                decode(corrupt_exif())
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert warnings.filters == before


def test_truncated_files_are_never_let_pass():
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


def test_errors_are_the_users_and_travel_between_processes():
    import pickle

    error = DecodeError("truncated", "It breaks\n off.")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, InputError)
    assert (copy.kind, str(copy)) == ("truncated", "It breaks off.")


def test_heif_with_its_plugin():
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    decoded = decode(encode(PHOTO, "HEIF", quality=95))
    assert (decoded.format, decoded.width) == ("HEIF", 160)
    assert difference(decoded.image, PHOTO) < 4


# --- facts ---


def test_facts_of_a_picture():
    data = encode(PHOTO, "JPEG")
    facts, image = examine(data)
    assert image is not None
    assert image.size == (160, 120)
    assert (facts.status, facts.problem, facts.format, facts.mode) == ("ok", "", "JPEG", "RGB")
    assert (facts.width, facts.height, facts.frames, facts.bytes) == (160, 120, 1, len(data))
    assert len(facts.thumbnail) == 1024
    assert facts.contrast == pytest.approx(float(np.asarray(image.convert("L")).std()), abs=0.01)


def test_the_hash_is_imagehashs_phash():
    imagehash = pytest.importorskip("imagehash")
    generator = np.random.default_rng(0)
    for number in range(200):
        box = generator.integers(0, 300, 2)
        pixels = load_sample_images().images[number % 2][box[0] : box[0] + 100, box[1] : box[1] + 120]
        facts, _ = examine(np.ascontiguousarray(pixels))
        thumbnail = Image.frombytes("L", (32, 32), facts.thumbnail)
        assert facts.perceptual_hash == int(str(imagehash.phash(thumbnail)), 16)


@pytest.mark.parametrize("size", [(500, 375), (3000, 2250)])
def test_fingerprints_do_not_depend_on_the_size_asked_for(size: tuple[int, int]):
    data = encode(PHOTO.resize(size), "JPEG")
    facts = [examine(data, smallest_side=side)[0] for side in (None, 96, 258, 512, 600, 1200)]
    assert len(set(facts)) == 1


def test_facts_as_a_table():
    rows = [examine(encode(PHOTO, "PNG"))[0], Facts("", "unreadable", "Cannot be read: no such file.")]
    table = facts_table(rows)
    assert list(table.columns) == list(Facts.__dataclass_fields__)
    assert table["perceptual_hash"].dtype == np.uint64
    assert table["perceptual_hash"].tolist() == [rows[0].perceptual_hash, 0]
    assert table["thumbnail"].tolist() == [rows[0].thumbnail, b""]
    assert facts_table([]).empty


def test_decoding_needs_no_keras():
    assert "tlkit.data.decode" in sys.modules
