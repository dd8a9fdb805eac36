"""More than thirty kinds of broken file: each becomes a row of the audit, told in one line."""

from __future__ import annotations

import importlib.util
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.data.pictures import PHOTO, encode, picture
from tlkit.data import check
from tlkit.data.examine import examine
from tlkit.data.formats import PROBLEM_KINDS


def big_header(name: str) -> bytes:
    """A small file whose header tells of 60,000 x 60,000 pixels."""
    side = 60_000
    if name == "PNG":
        data = bytearray(encode(PHOTO, "PNG"))
        data[16:24] = struct.pack(">II", side, side)
        data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    elif name == "BMP":
        data = bytearray(encode(PHOTO, "BMP"))
        data[18:26] = struct.pack("<II", side, side)
    elif name == "GIF":
        data = bytearray(encode(PHOTO.convert("P"), "GIF"))
        data[6:10] = struct.pack("<HH", side, side)
    else:
        data = bytearray(encode(PHOTO, "JPEG"))
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", side, side)
    return bytes(data)


def broken() -> dict[str, tuple[bytes, str]]:
    """Broken bytes by name, each with the kind of problem that it is."""
    jpeg, png = encode(PHOTO, "JPEG"), encode(PHOTO, "PNG")
    scan = jpeg.index(b"\xff\xda")
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 0xFF
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)
    cases = {
        "empty": (b"", "empty"),
        "text": (b"not a picture at all", "not an image"),
        "web page": (b"<!DOCTYPE html><html><body>404</body></html>", "not an image"),
        "json": (b'{"error": "not found"}', "not an image"),
        "zeros": (bytes(1000), "not an image"),
        "random": (np.random.default_rng(0).bytes(5000), "not an image"),
        "pdf": (b"%PDF-1.7\n1 0 obj", "not an image"),
        "zip": (b"PK\x03\x04" + bytes(40), "not an image"),
        "git lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "not an image"),
        "video": (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(64), "not an image"),
        "jpeg start only": (jpeg[:20], "truncated"),
        "jpeg half": (jpeg[: len(jpeg) // 2], "truncated"),
        "jpeg without end": (jpeg[:-40], "truncated"),
        "jpeg padded with zeros": (jpeg[: len(jpeg) // 2] + bytes(len(jpeg) // 2), "truncated"),
        "jpeg of header": (jpeg[: scan + 12], "truncated"),
        "png half": (png[: len(png) // 2], "truncated"),
        "png signature": (png[:8], "truncated"),
        "png with a flipped bit": (bytes(flipped), "unreadable"),
        "gif half": (encode(PHOTO, "GIF")[:3000], "truncated"),
        "gif header": (encode(PHOTO, "GIF")[:6], "truncated"),
        "webp half": (encode(PHOTO, "WEBP")[:2000], "truncated"),
        "bmp half": (encode(PHOTO, "BMP")[:20000], "truncated"),
        "bmp header": (encode(PHOTO, "BMP")[:20], "truncated"),
        "tiff half": (encode(PHOTO, "TIFF", compression="tiff_lzw")[:9000], "unreadable"),
        "tiff header": (b"II*\0\x08\0\0\0", "unreadable"),
        "avif half": (encode(PHOTO, "AVIF")[:1500], "truncated"),
        "ppm half": (encode(PHOTO, "PPM")[:9000], "truncated"),
        "png of nothing": (png[:16] + struct.pack(">II", 0, 0) + png[24:], "unreadable"),
        "heic": (heic, "unreadable" if importlib.util.find_spec("pillow_heif") else "no decoder"),
        "jpeg xl": (b"\xff\x0a" + bytes(30), "no decoder"),
        "svg": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "no decoder"),
        "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "no decoder"),
        "wmf": (b"\xd7\xcd\xc6\x9a" + bytes(40), "no decoder"),
    }
    for name in ("PNG", "BMP", "GIF", "JPEG"):
        cases[f"bomb {name}"] = (big_header(name), "too large")
    return cases


BROKEN = broken()


@pytest.mark.parametrize("name", BROKEN)
def test_broken_bytes_have_a_kind_and_one_line(name: str, capfd: pytest.CaptureFixture[str]):
    data, kind = BROKEN[name]
    facts, image = examine(data)
    assert (facts.status, image) == (kind, None)
    assert facts.status in PROBLEM_KINDS
    assert facts.problem
    assert "\n" not in facts.problem
    assert len(facts.problem) < 300
    assert (facts.bytes, len(facts.digest)) == (len(data), 64)
    assert capfd.readouterr() == ("", "")


def test_broken_files_become_rows_of_the_audit(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for number in range(3):
            (tmp_path / label / f"{number}.png").write_bytes(picture(number + 10 * ord(label)))
    for name, (data, _) in BROKEN.items():
        (tmp_path / "b" / f"{name}.jpg").write_bytes(data)
    manifest, audit = check(str(tmp_path))
    rows = {row.item.removeprefix("b/").removesuffix(".jpg"): row for row in audit.set_aside}
    assert {name: row.kind for name, row in rows.items()} == {name: kind for name, (_, kind) in BROKEN.items()}
    assert manifest.usable.sum() == 6
    told = {finding.kind: finding.items for finding in audit.findings}
    for kind in {kind for _, kind in BROKEN.values()}:
        assert len(told[kind]) == sum(kind == other for _, other in BROKEN.values())
    assert capfd.readouterr() == ("", "")


def test_there_are_more_than_thirty_kinds():
    assert len(BROKEN) >= 30
