"""More than sixty kinds of broken file, folder, table and archive: each a row of the audit or an error of one line."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import lzma
import os
import pickle
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from tlkit.data import check, from_spec
from tlkit.data.examine import examine
from tlkit.data.formats import PROBLEM_KINDS
from tlkit.data.members import MAX_MEMBER_BYTES
from tlkit.errors import InputError

PHOTO = Image.fromarray(load_sample_images().images[0]).resize((160, 120))


def encode(image: Image.Image, name: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, name, **options)
    return file.getvalue()


# --- files: each becomes a row of the audit ---


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


# --- everything else: an error of one line, exit code 2 on the command line ---


def picture(seed: int) -> bytes:
    return encode(Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)), "PNG")


def good() -> dict[str, bytes]:
    return {f"{label}/{number}.png": picture(number + 10 * ord(label)) for label in "ab" for number in range(3)}


def write(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def folder(files: dict[str, bytes]) -> Callable[[Path], Path]:
    return lambda root: write(root / "images", {"": b""} and files) if files else _made(root / "images")


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def one_level_up(root: Path) -> Path:
    write(root / "set" / "images", good())
    return root / "set"


def only_links_out(root: Path) -> Path:
    write(root / "outside", good())
    (root / "images").mkdir()
    for label in "ab":
        (root / "images" / label).symlink_to(root / "outside" / label)
    return root / "images"


def link_to_nothing(root: Path) -> Path:
    (root / "images").symlink_to(root / "gone")
    return root / "images"


def loop_of_links(root: Path) -> Path:
    _made(root / "images")
    (root / "images" / "a").symlink_to(root / "images")
    return root / "images"


FOLDERS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no such folder": (
        lambda root: write(root, {"images/x": b""}) / "imagse",
        "does not exist. Did you mean '.*/images'",
    ),
    "link to nothing": (link_to_nothing, "a link to nothing"),
    "empty folder": (folder({}), "no class folder with files"),
    "files without classes": (folder({"1.png": b"x", "2.png": b"y"}), "2 files and no class folder"),
    "litter only": (folder({".DS_Store": b"x", "__MACOSX/a/1.png": b"y"}), "no class folder with files"),
    "empty class folders": (lambda root: _made(_made(root / "images") / "a").parent, "Empty folder: 'a/'"),
    "one class": (folder({f"a/{n}.png": picture(n) for n in range(5)}), "at least 2 classes in .*Received: one, 'a'"),
    "one level too high": (one_level_up, "Did you mean '.*/set/images'"),
    "two images in a class": (folder({**good(), "c/1.png": b"x", "c/2.png": b"y"}), "at least 3 .*'c' has 2"),
    "control character": (folder({**good(), "c\n/1.png": b"x"}), "without control characters. Received: 'c\\\\n'"),
    "space for a name": (folder({**good(), " /1.png": b"x"}), "visible character"),
    "line separator": (folder({**good(), "c\u2028d/1.png": b"x"}), "without control characters"),
    "links out of the folder only": (only_links_out, "Link out of the folder: 'a', 'b': refused"),
    "loop of links": (loop_of_links, "no class folder"),
    "test part only": (folder({f"test/{name}": data for name, data in good().items()}), "one folder, 'test'"),
}


def table(text: str | bytes, name: str = "set.csv") -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        write(root, {f"{n}.png": picture(n) for n in range(6)})
        (root / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return root / name

    return make


def frame(rows: dict[str, list]) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        pd.DataFrame(rows).to_parquet(root / "set.parquet")
        return root / "set.parquet"

    return make


ROWS = "".join(f"{n}.png,{'ab'[n % 2]}\n" for n in range(6))

TABLES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty table": (table(""), "an empty file"),
    "table of blanks": (table("\n \r\n"), "an empty file"),
    "header only": (table("path,label\n"), "a table without any"),
    "no path column": (table("where,label\n" + ROWS), "missing: item"),
    "no label column": (table("path,what\n" + ROWS), "missing: label"),
    "no header": (table(ROWS), "missing: item, label"),
    "too many cells": (table("path,label\n" + ROWS + "6.png,a,b\n"), "3 in row 8"),
    "the same column twice": (table("path,label,label\n"), "different names"),
    "Latin-1": (table("path,label\n1.png,caf\u00e9\n".encode("latin-1")), "Save it as UTF-8"),
    "binary": (table(b"path,label\n\0\0\0"), "binary data"),
    "an image by that name": (table(picture(0)), "Save it as UTF-8"),
    "endless cell": (table('path,label\n"' + "x" * 200_000), "field larger than field limit"),
    "no file exists": (table("path,label\n" + ROWS.replace("png", "jpg")), "6 paths, none of which exists"),
    "addresses": (
        table("path,label\n" + ROWS.replace("0.", "http://x/0.").replace("png", "gif")),
        "none of which|addresses",
    ),
    "unknown parts": (table("path,label,split\n" + ROWS.replace("\n", ",holdout\n")), "Received: 'holdout'"),
    "all under two labels": (
        table("path,label\n" + ROWS + ROWS.translate(str.maketrans("ab", "ba"))),
        "Received: none",
    ),
    "no labels": (table("path,label\n" + "".join(f"{n}.png,\n" for n in range(6))), "Received: none"),
    "parquet that is none": (table("path,label\n" + ROWS, "set.parquet"), "Expected a Parquet file"),
    "parquet of bytes": (frame({"image": [b"x"] * 6, "label": ["a", "b"] * 3}), "Received: bytes"),
    "Excel": (table(b"PK\x03\x04xlsx", "set.xlsx"), "which is none of these"),
}


def zipped(files: dict[str, bytes], change: Callable[[bytes], bytes] = bytes) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        (root / "set.zip").write_bytes(change(file.getvalue()))
        return root / "set.zip"

    return make


def zip_bomb(root: Path) -> Path:
    with zipfile.ZipFile(root / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(30):
            archive.writestr(f"a/{number}.bmp", bytes(20 << 20))
    return root / "set.zip"


def tarred(mode: str = "w", change: Callable[[bytes], bytes] = bytes) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as archive:
            for name, data in good().items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        (root / "set.tar").write_bytes(change(file.getvalue()))
        return root / "set.tar"

    return make


def tar_bomb(root: Path) -> Path:
    """Hundreds of megabytes of zeros, packed to less than one."""
    size = 400 << 20
    entry = tarfile.TarInfo("a/0.bmp")
    entry.size = size
    with gzip.open(root / "set.tar.gz", "wb", compresslevel=9) as file:
        file.write(entry.tobuf())
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return root / "set.tar.gz"


def plain(data: bytes, name: str) -> Callable[[Path], Path]:
    return lambda root: write(root, {name: data}) / name


ARCHIVES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "empty zip": (zipped({}), "no class folder"),
    "zip cut in half": (zipped(good(), lambda data: data[: len(data) // 2]), "none of these, or is damaged"),
    "zip of a broken directory": (zipped(good(), lambda data: data.replace(b"PK\x01\x02", b"PK\x01\x09")), "sound zip"),
    "zip bomb": (zip_bomb, "decompression bombs"),
    "zip of files leading out": (
        zipped({f"../{name}": data for name, data in good().items()}),
        "leads out of the archive",
    ),
    "zip of absolute names": (zipped({f"/{name}": data for name, data in good().items()}), "absolute path"),
    "zip of drive letters": (zipped({f"C:/{name}": data for name, data in good().items()}), "absolute path"),
    "tar cut in half": (tarred(change=lambda data: data[:3000]), "sound tar archive"),
    "gzip cut in half": (tarred("w:gz", lambda data: data[: len(data) // 2]), "sound tar archive|none of these"),
    "xz with a flipped bit": (
        tarred("w:xz", lambda d: d[:300] + bytes([d[300] ^ 255]) + d[301:]),
        "sound tar|none of these",
    ),
    "tar bomb": (tar_bomb, "decompression bombs"),
    "gzip of no tar": (plain(gzip.compress(b"hello"), "set.tar.gz"), "none of these"),
    "bzip2 of no tar": (plain(bz2.compress(b"hello"), "set.tar.bz2"), "none of these"),
    "xz of no tar": (plain(lzma.compress(b"hello"), "set.tar.xz"), "none of these"),
    "RAR": (plain(b"Rar!\x1a\x07\x01\0" + bytes(50), "set.rar"), "none of these"),
    "an empty file": (plain(b"", "set.zip"), "none of these"),
    "a picture": (plain(picture(0), "0.png"), "none of these"),
}


def npz(**arrays: np.ndarray) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        np.savez_compressed(root / "set.npz", **arrays)
        return root / "set.npz"

    return make


class Danger:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("/tmp/should-never-be-made-by-reading-an-npz-file",)


IMAGES, LABELS = np.random.default_rng(0).integers(0, 256, (6, 4, 4), dtype=np.uint8), np.array([0, 1] * 3)

NPZ: dict[str, tuple[Callable[[Path], Path], str]] = {
    "npz without labels": (npz(images=IMAGES), "Received: images"),
    "npz of floats": (npz(images=IMAGES / 255, labels=LABELS), "float64"),
    "npz of two lengths": (npz(images=IMAGES, labels=LABELS[:5]), "6 and 5"),
    "npz of objects": (npz(images=IMAGES, labels=np.array([Danger()] * 6, object)), "which could run code"),
    "npz that is none": (plain(b"hello", "set.npz"), "plain arrays"),
    "npz cut in half": (lambda root: _halved(npz(images=IMAGES, labels=LABELS)(root)), "plain arrays"),
    "npz bomb": (npz(images=np.zeros((1, 600 << 20), np.uint8), labels=LABELS), "decompression bombs"),
    "npz of labels out of range": (npz(images=IMAGES, labels=LABELS, class_names=np.array(["x"])), "from 0 to 0"),
}


def _halved(path: Path) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def idx_folder(images: bytes | None, labels: bytes | None, ending: str = "") -> Callable[[Path], str]:
    def make(root: Path) -> str:
        for name, data in (("images-idx3", images), ("labels-idx1", labels)):
            if data is not None:
                (root / f"train-{name}-ubyte{ending}").write_bytes(data)
        return f"idx:{root}"

    return make


X, Y = idx(IMAGES), idx(LABELS.astype(np.uint8))

IDX: dict[str, tuple[Callable[[Path], str], str]] = {
    "no such idx folder": (lambda root: f"idx:{root}/gone", "does not exist"),
    "no idx files": (lambda root: f"idx:{root}", "no such file"),
    "idx labels missing": (idx_folder(X, None), "no labels file"),
    "idx cut in half": (idx_folder(X[:60], Y), "96 bytes of values"),
    "idx too long": (idx_folder(X + b"x", Y), "Received: more"),
    "idx header cut": (idx_folder(X[:7], Y), "breaks off in its header"),
    "idx of something else": (idx_folder(b"hello world", Y), "starts with b'hell'"),
    "idx of floats": (idx_folder(b"\0\0\x0d\x03" + X[4:], Y), "idx file of bytes"),
    "idx of two lengths": (idx_folder(X, idx(LABELS[:5].astype(np.uint8))), r"\(6, 4, 4\) and \(5,\)"),
    "idx bomb": (idx_folder(b"\0\0\x08\x03" + b"\xff" * 12, Y), "Expected at most"),
    "idx gzip cut": (idx_folder(gzip.compress(X)[:40], gzip.compress(Y), ".gz"), "sound idx file"),
    "images and labels swapped": (idx_folder(Y, X), "Received:"),
}

SPECS: dict[str, tuple[Callable[[Path], str], str]] = {
    "unknown built-in set": (lambda root: "builtin:cifar", "Unknown built-in data set"),
    "unknown kind of data": (lambda root: "buildin:digits", "Did you mean 'builtin:'"),
    "nothing": (lambda root: str(root / "nowhere" / "at" / "all"), "does not exist"),
}

ERRORS = {**FOLDERS, **TABLES, **ARCHIVES, **NPZ, **IDX, **SPECS}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_are_one_line_and_say_what_is_wrong(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    make, told = ERRORS[name]
    with pytest.raises(InputError, match=told) as error:
        from_spec(str(make(tmp_path)))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 900
    assert capfd.readouterr() == ("", "")


def test_reading_objects_ran_no_code():
    assert pickle.dumps(Danger())
    assert not os.path.exists("/tmp/should-never-be-made-by-reading-an-npz-file")


# --- archives with something good in them: what is bad is refused, named, and the rest is read ---


def test_bad_members_of_a_zip_are_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name, data in good().items():
            archive.writestr(name, data)
        archive.writestr("../../a/out.png", picture(1))
        link = zipfile.ZipInfo("a/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("b/crc.png", picture(2))
    data = bytearray((tmp_path / "set.zip").read_bytes())
    at = data.index(b"b/crc.png") + len("b/crc.png") + 20
    data[at] ^= 0xFF
    (tmp_path / "set.zip").write_bytes(data)
    manifest, audit = check(str(tmp_path / "set.zip"))
    found = {finding.kind: finding.items for finding in audit.findings}
    assert found["unsafe name"] == ("../../a/out.png",)
    assert found["link in the archive"] == ("a/link.png",)
    assert [(row.item, row.kind) for row in audit.set_aside] == [("b/crc.png", "unreadable")]
    assert "damaged in the archive" in audit.set_aside[0].problem
    assert manifest.usable.sum() == 6
    assert os.listdir(tmp_path) == ["set.zip"]


def test_encrypted_and_repeated_members_of_a_zip(tmp_path: Path):
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        warnings.simplefilter("ignore")  # Of the repeated name.
        for name, data in [*good().items(), ("a/0.png", picture(99)), ("b/locked.png", picture(3))]:
            archive.writestr(name, data)
    data = bytearray((tmp_path / "set.zip").read_bytes())
    at = data.rindex(b"PK\x01\x02")  # The directory's entry of the last member.
    data[at + 8] |= 1
    (tmp_path / "set.zip").write_bytes(data)
    manifest, audit = check(str(tmp_path / "set.zip"))
    found = {finding.kind: finding.items for finding in audit.findings}
    assert found["encrypted"] == ("b/locked.png",)
    assert found["repeated name"] == ("a/0.png",)
    assert len(manifest) == 6


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_bad_members_of_a_tar_are_refused(tmp_path: Path, mode: str):
    with tarfile.open(tmp_path / "set.tar", mode) as archive:
        entries = [(name, tarfile.REGTYPE, data) for name, data in good().items()]
        entries += [("/a/absolute.png", tarfile.REGTYPE, picture(1)), ("a/../../out.png", tarfile.REGTYPE, picture(1))]
        entries += [("a/link.png", tarfile.SYMTYPE, b""), ("a/hard.png", tarfile.LNKTYPE, b"")]
        entries += [("a/disk.png", tarfile.BLKTYPE, b""), ("a/pipe.png", tarfile.FIFOTYPE, b"")]
        for name, kind, data in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(data), "/etc/passwd"
            archive.addfile(entry, io.BytesIO(data))
    manifest, audit = check(str(tmp_path / "set.tar"))
    assert {finding.kind: finding.items for finding in audit.findings if "archive" in finding.message} == {
        "unsafe name": ("/a/absolute.png", "a/../../out.png"),
        "link in the archive": ("a/link.png", "a/hard.png"),
        "device in the archive": ("a/disk.png", "a/pipe.png"),
    }
    assert manifest.usable.sum() == 6
    assert os.listdir(tmp_path) == ["set.tar"]


def test_a_member_too_large_for_anyone_is_refused(tmp_path: Path):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in good().items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        entry = tarfile.TarInfo("b/vast.png")
        entry.size = MAX_MEMBER_BYTES + 1
        file.write(entry.tobuf())
    with open(tmp_path / "set.tar", "wb") as sparse:
        sparse.write(file.getvalue())
        sparse.seek(MAX_MEMBER_BYTES + 20_000, os.SEEK_CUR)
        sparse.write(bytes(1024))
    _, audit = check(str(tmp_path / "set.tar"))
    assert {finding.kind: finding.items for finding in audit.findings}["too large"] == ("b/vast.png",)


def test_there_are_more_than_sixty_kinds():
    assert len(BROKEN) >= 30
    assert len(BROKEN) + len(ERRORS) >= 100
