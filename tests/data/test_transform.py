"""One transform: an original file gives the very pixels that were packed, whatever the format and the geometry."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from tlkit.data.arrays import from_arrays
from tlkit.data.examine import examine
from tlkit.data.folders import from_directory
from tlkit.data.jpeg import load_jpeg, simplejpeg_available
from tlkit.data.resample import RESAMPLERS, simd_available
from tlkit.data.store import open_store
from tlkit.data.transform import GEOMETRIES, Transform, make_transform
from tlkit.errors import InputError

PHOTOGRAPHS = [Image.fromarray(array) for array in load_sample_images().images]
AVAILABLE = [name for name in RESAMPLERS if name != "bilinear-simd" or simd_available()]


def encoded(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def files() -> dict[str, bytes]:
    photograph = PHOTOGRAPHS[0]
    alpha = photograph.resize((120, 90)).convert("RGBA")
    alpha.putalpha(Image.linear_gradient("L").resize((120, 90)))
    exif = Image.Exif()
    exif[0x0112] = 6
    return {
        "photograph.jpg": encoded(photograph, quality=90),
        "large.jpg": encoded(photograph.resize((2600, 1735)), quality=85),
        "upright.jpg": encoded(photograph.resize((1400, 1100)), quality=85, exif=exif),
        "progressive.jpg": encoded(photograph.resize((333, 500)), progressive=True),
        "full-colour.jpg": encoded(photograph.resize((301, 299)), subsampling=0),
        "grey.jpg": encoded(photograph.convert("L").resize((1100, 1200))),
        "print.jpg": encoded(photograph.convert("CMYK").resize((400, 300))),
        "tiny.jpg": encoded(photograph.resize((9, 7))),
        "narrow.jpg": encoded(photograph.resize((40, 900))),
        "photograph.png": encoded(photograph.resize((700, 466)), "PNG"),
        "alpha.png": encoded(alpha, "PNG"),
        "palette.png": encoded(photograph.resize((77, 130)).quantize(16), "PNG"),
        "deep.png": encoded(Image.fromarray((np.arange(64 * 48) * 21).astype(np.uint16).reshape(48, 64)), "PNG"),
        "photograph.webp": encoded(photograph.resize((320, 240)), "WEBP"),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("formats")
    for label in ("a", "b"):
        (root / label).mkdir()
    for number, (name, data) in enumerate(files().items()):
        (root / "ab"[number % 2] / name).write_bytes(data)
    return root


@pytest.mark.parametrize("resampler", AVAILABLE)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_file_gives_the_pixels_that_were_packed(folder: Path, geometry: str, resampler: str):
    transform = Transform(96, 110, geometry, resampler=resampler)
    manifest = from_directory(folder)
    store = open_store(manifest, transform)
    for row, item in enumerate(manifest.items["item"]):
        alone = transform((folder / item).read_bytes())
        assert np.array_equal(alone, store.images([row])[0]), item
        assert np.array_equal(alone, transform.to_model(store.pixels([row]))[0]), item


def test_a_file_gives_the_pixels_that_were_packed_above_the_size_of_fingerprints(folder: Path):
    transform = Transform(600, 690)
    manifest = from_directory(folder)
    store = open_store(manifest, transform)
    for row, item in enumerate(manifest.items["item"]):
        assert np.array_equal(transform((folder / item).read_bytes()), store.images([row])[0]), item


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_an_array_gives_the_pixels_that_were_packed(geometry: str):
    images = (load_digits().images[:20] * 15.9375).astype(np.uint8)
    manifest = from_arrays(images, np.arange(20) % 2, min_images=1)
    transform = make_transform(96, geometry=geometry)
    packed = open_store(manifest, transform).images(np.arange(20))
    assert all(np.array_equal(transform(image), pixels) for image, pixels in zip(images, packed, strict=True))


@pytest.mark.parametrize("resampler", AVAILABLE)
@pytest.mark.parametrize("size", [(5, 300), (8, 8), (640, 427), (3000, 2000)])
def test_one_colour_stays_one_colour(size: tuple[int, int], resampler: str):
    colour = (250, 3, 77)
    pixels = Transform(64, 74, "squash", resampler=resampler)(encoded(Image.new("RGB", size, colour), "PNG"))
    assert (pixels == colour).all()


def test_crop_keeps_the_middle_of_the_longer_side():
    image = Image.new("RGB", (300, 100), (255, 0, 0))
    image.paste((0, 255, 0), (100, 0, 200, 100))
    pixels = Transform(50, 50, "crop").to_store(image)
    assert (pixels[:, 1:-1] == (0, 255, 0)).all()
    assert (pixels[..., 1] > 200).all()


def test_squash_keeps_all_of_both_sides():
    image = Image.new("RGB", (300, 100), (255, 0, 0))
    image.paste((0, 255, 0), (150, 0, 300, 100))
    pixels = Transform(50, 50, "squash").to_store(image)
    assert (pixels[:, :24] == (255, 0, 0)).all()
    assert (pixels[:, 26:] == (0, 255, 0)).all()


def test_pad_shows_the_whole_image_to_the_model_and_room_for_crops_around():
    image = Image.new("RGB", (200, 100), (255, 255, 255))
    transform = Transform(100, 120, "pad")
    stored = transform.to_store(image)
    seen = transform.to_model(stored)
    assert (seen[25:75] == 255).all()
    assert (seen[:25] == 0).all()
    assert (seen[75:] == 0).all()
    assert int((stored > 0).sum()) == int((seen > 0).sum())


@pytest.mark.parametrize("resampler", AVAILABLE)
def test_reduction_does_not_alias(resampler: str):
    fine = np.indices((700, 700)).sum(axis=0) % 2 * 255
    pixels = Transform(64, 64, resampler=resampler)(fine.astype(np.uint8))
    assert np.abs(pixels.astype(int) - 127).max() <= 2


def test_a_large_image_is_reduced_in_two_steps_close_to_one():
    image = PHOTOGRAPHS[1].resize((3200, 2135))
    two_steps = Transform(100, 100, "squash", resampler="bilinear").to_store(image).astype(int)
    one_step = np.asarray(image.resize((100, 100), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(two_steps - one_step).mean() < 0.5


def test_a_reduced_jpeg_stays_close_to_the_whole_one():
    data = encoded(PHOTOGRAPHS[0].resize((2600, 1735)), quality=95)
    transform = Transform(224, 258, resampler="bilinear")
    whole = transform.to_store(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    reduced = transform.to_model(whole) - transform(data)
    assert np.abs(reduced).mean() < 1.5


def test_a_transform_is_recorded_and_read_back():
    for transform in (make_transform(224), Transform(96, 96, "pad", resampler="lanczos")):
        assert Transform.from_dict(transform.to_dict()) == transform


def test_stored_pixels_of_one_kind_serve_several_model_sizes():
    assert Transform(200, 258).digest() == Transform(224, 258).digest()
    assert Transform(200, 258, "pad").digest() != Transform(224, 258, "pad").digest()
    assert len({Transform(224, 258, geometry).digest() for geometry in GEOMETRIES}) == 3


def test_the_default_leaves_room_for_crops():
    assert make_transform(224).store_size == 258
    assert make_transform(96, store_scale=1).store_size == 96


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Transform(geometry="corp"), "Unknown geometry.*'corp'.*Did you mean 'crop'"),
        (lambda: Transform(resampler="bilinea"), "Unknown resampler.*Did you mean 'bilinear'"),
        (lambda: Transform(decoder="magick"), "Unknown decoder"),
        (lambda: Transform(224, 200), "1 <= image_size <= store_size.*image_size=224, store_size=200"),
        (lambda: Transform(0, 10), "1 <= image_size"),
        (lambda: make_transform("224"), "image_size as a whole number of pixels. Received: '224'"),
        (lambda: make_transform(64.5), "Received: 64.5"),
        (lambda: make_transform(96, store_scale=0.9), "store_scale of at least 1. Received: 0.9"),
        (lambda: make_transform(96, store_scale=float("nan")), "store_scale of at least 1"),
        (lambda: Transform.from_dict({"image_sise": 3}), "Unknown field of a transform.*'image_sise'"),
    ],
)
def test_wrong_values_are_told_with_the_remedy(make, message: str):
    with pytest.raises(InputError, match=message):
        make()


def test_without_the_fast_resampler_pillow_stands_in_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cykooz_resizer", None)
    made_fast = Transform(96, 110, resampler="bilinear-simd")
    with pytest.raises(InputError, match=r"needs the package cykooz-resizer.*tlkit\[fast\]"):
        made_fast(encoded(PHOTOGRAPHS[0]))
    stand_in, notes = made_fast.here()
    assert stand_in == Transform(96, 110, resampler="bilinear")
    assert len(notes) == 1
    assert "not installed here" in notes[0]
    assert make_transform(96).resampler == "bilinear"
    assert stand_in.here() == (stand_in, ())


@pytest.mark.skipif(not simd_available(), reason="the package cykooz-resizer is not installed (extra fast)")
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_fast_resampler_is_close_to_pillows(geometry: str):
    assert make_transform(96).resampler == "bilinear-simd"
    for name, data in files().items():
        pillows = Transform(96, 110, geometry, resampler="bilinear")(data).astype(int)
        fast = Transform(96, 110, geometry, resampler="bilinear-simd")(data)
        assert np.abs(pillows - fast).max() <= 2, name


@pytest.mark.skipif(not simplejpeg_available(), reason="the package simplejpeg is not installed (extra fast)")
@pytest.mark.parametrize("side", [None, 600, 300, 100])
def test_the_fast_decoder_gives_pillows_pixels(side: int | None):
    taken = []
    for name, data in files().items():
        if not name.endswith(".jpg"):
            continue
        pillows, fast = Image.open(io.BytesIO(data)), Image.open(io.BytesIO(data))
        for opened in (pillows, fast):
            opened.draft(None, (side or 10_000,) * 2)
        pixels = load_jpeg(fast, data)
        if pixels is not None:
            taken.append(name)
            assert np.array_equal(np.asarray(pixels)[..., :3], np.asarray(pillows)), name
    assert {"photograph.jpg", "large.jpg", "progressive.jpg", "full-colour.jpg", "upright.jpg"} <= set(taken)
    assert not {"grey.jpg", "print.jpg"} & set(taken)


@pytest.mark.skipif(not simplejpeg_available(), reason="the package simplejpeg is not installed (extra fast)")
def test_the_fast_decoder_leaves_broken_files_to_pillow():
    data = encoded(PHOTOGRAPHS[0])
    broken = data[: len(data) // 2]
    assert load_jpeg(Image.open(io.BytesIO(broken)), broken) is None


def damaged(data: bytes, generator: np.random.Generator) -> bytes:
    """Cuts a file short, changes a few bytes, adds or takes some."""
    broken, place = bytearray(data), int(generator.integers(2, len(data)))
    match generator.integers(4):
        case 0:
            del broken[place:]
        case 1:
            for position in generator.integers(0, len(data), 3):
                broken[position] = int(generator.integers(256))
        case 2:
            broken += generator.bytes(50)
        case 3:
            del broken[place : place + 9]
    return bytes(broken)


@pytest.mark.skipif(not simplejpeg_available(), reason="the package simplejpeg is not installed (extra fast)")
def test_examining_tells_the_same_with_and_without_the_fast_decoder(monkeypatch: pytest.MonkeyPatch):
    generator = np.random.default_rng(0)
    whole = [data for name, data in files().items() if name.endswith(".jpg") and len(data) < 200_000]
    cases = [*files().values(), *(damaged(whole[number % len(whole)], generator) for number in range(200))]
    with_it = [examine(data, smallest_side=100) for data in cases]
    monkeypatch.setattr("tlkit.data.jpeg.simplejpeg", None)
    statuses = set()
    for data, (facts, image) in zip(cases, with_it, strict=True):
        facts_without, image_without = examine(data, smallest_side=100)
        assert facts == facts_without
        assert (image is None) == (image_without is None)
        if image is not None and image_without is not None:
            assert np.array_equal(np.asarray(image)[..., :3], np.asarray(image_without))
        statuses.add(facts.status)
    assert {"ok", "truncated"} <= statuses
