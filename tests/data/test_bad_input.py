"""Seventy kinds of bad folder, table, archive and array: each an error of one line, exit code 2 on the command line."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.data.pictures import good, picture, write
from tlkit.data import from_spec
from tlkit.errors import InputError


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


def test_there_are_seventy_kinds():
    assert len(ERRORS) >= 70
