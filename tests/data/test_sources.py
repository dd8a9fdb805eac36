"""Every source gives the same kind of manifest: folders, tables, archives, arrays, named sets."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tlkit.data import (
    Manifest,
    check,
    from_archive,
    from_arrays,
    from_dataframe,
    from_directory,
    from_idx,
    from_npz,
    from_spec,
    from_table,
)
from tlkit.data.examine import examine
from tlkit.errors import InputError

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def picture(seed: int, name: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(file, name)
    return file.getvalue()


def fill(root: Path, *paths: str) -> Path:
    """Writes a picture at each path below a root, each another one."""
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(picture(number))
    return root


CLASSES = [f"{label}/{number}.png" for label in ("cat", "dog") for number in range(4)]


def read_all(manifest: Manifest) -> list[str]:
    """Statuses of all items, read through a source that has been sent to another process."""
    source = pickle.loads(pickle.dumps(manifest.source))
    assert all(source.stamp(item) == manifest.source.stamp(item) for item in manifest.items["item"])
    return [examine(source.read(item))[0].status for item in manifest.items["item"]]


# --- folders ---


def test_folder_with_a_folder_a_class(tmp_path: Path):
    manifest = from_directory(fill(tmp_path, *CLASSES, "dog/deep/down/9.jpg"))
    assert manifest.items["item"].tolist() == [*CLASSES, "dog/deep/down/9.jpg"]
    assert manifest.counts()["unassigned"].to_dict() == {"cat": 4, "dog": 5}
    assert manifest.findings == ()
    assert read_all(manifest) == ["ok"] * 9


def test_folders_of_a_split(tmp_path: Path):
    paths = [f"{part}/{path}" for part in ("train", "valid", "test") for path in CLASSES]
    manifest = from_directory(fill(tmp_path, *paths))
    assert manifest.class_names == ("cat", "dog")
    assert manifest.counts().to_dict("list") == {"train": [4, 4], "validation": [4, 4], "test": [4, 4]}
    assert manifest.split().items["split"].equals(manifest.items["split"])


def test_unlabelled_test_folder_is_passed_over_and_told(tmp_path: Path):
    manifest = from_directory(fill(tmp_path, *[f"train/{path}" for path in CLASSES], "test/1.png", "test/2.png"))
    assert list(manifest.counts().columns) == ["train"]
    assert manifest.findings[0].items == ("test/1.png", "test/2.png")
    assert set(manifest.split().counts().columns) == {"train", "validation", "test"}


def test_train_may_be_a_class(tmp_path: Path):
    manifest = from_directory(fill(tmp_path, *[f"{label}/{n}.png" for label in ("bus", "train") for n in range(3)]))
    assert manifest.class_names == ("bus", "train")


def test_litter_is_passed_over_and_counted(tmp_path: Path):
    fill(tmp_path, *CLASSES, "readme.txt")
    for name in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "__MACOSX/cat/1.png", "dog/._1.png", ".git/x/y.png"):
        fill(tmp_path, name)
    manifest = from_directory(tmp_path)
    assert manifest.items["item"].tolist() == CLASSES
    assert manifest.notes == (
        "6 hidden or system files passed over (.DS_Store 2, .git 1, __MACOSX 1, Thumbs.db 1, ._* 1).",
        "1 file outside the class folders passed over: 'readme.txt'.",
    )


def test_class_names_with_anything_in_them(tmp_path: Path):
    names = ["=1+1", "it's", 'say "hi"', "日本 語", "a,b", "naïve", "-x", "@y", "#z%20"]
    manifest = from_directory(fill(tmp_path, *[f"{name}/{n}.png" for name in names for n in range(3)]))
    assert manifest.class_names == tuple(sorted(names))
    manifest.split().write_csv(tmp_path / "m.csv")
    assert Manifest.read_csv(tmp_path / "m.csv", manifest.source).class_names == manifest.class_names
    assert read_all(manifest) == ["ok"] * 27


def test_links(tmp_path: Path):
    outside = fill(tmp_path / "outside", "secret.png", "more/1.png")
    root = fill(tmp_path / "images", *CLASSES)
    (root / "cat/link.png").symlink_to(root / "dog/1.png")
    (root / "cat/out.png").symlink_to(outside / "secret.png")
    (root / "cat/up.png").symlink_to("../../outside/secret.png")
    (root / "cat/loop").symlink_to(root)
    (root / "bird").symlink_to(outside / "more")
    (root / "dog/gone.png").symlink_to("nowhere.png")
    (root / "dog/self.png").symlink_to("self.png")
    os.mkfifo(root / "dog/pipe.png")
    manifest = from_directory(root)
    assert manifest.items["item"].tolist() == sorted([*CLASSES, "cat/link.png"])
    found = {finding.kind: finding.items for finding in manifest.findings}
    assert found == {
        "link out of the folder": ("bird", "cat/out.png", "cat/up.png"),
        "broken link": ("dog/gone.png", "dog/self.png"),
        "link to a folder": ("cat/loop",),
        "not a file": ("dog/pipe.png",),
    }
    assert [finding.severity for finding in manifest.findings] == ["error", "warning", "note", "note"]


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, before which no folder is unreadable."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.name == "nt", reason="Windows has other rights")
def test_unreadable_folders_and_files_are_named(tmp_path: Path):
    for folder in (tmp_path, *tmp_path.parents[:3]):
        os.chmod(folder, 0o755)
    root = fill(tmp_path, *CLASSES, "bird/1.png")
    os.chmod(root / "bird", 0o000)
    os.chmod(root / "cat/1.png", 0o000)
    with as_nobody():
        manifest, audit = check(str(root))
    os.chmod(root / "bird", 0o755)
    assert [(f.kind, f.severity, f.items) for f in manifest.findings[:1]] == [
        ("unreadable folder", "error", ("bird/",))
    ]
    assert [(row.item, row.kind) for row in audit.set_aside] == [("cat/1.png", "unreadable")]
    assert audit.set_aside[0].problem == "Cannot be read: Permission denied."


def test_one_level_too_high(tmp_path: Path):
    fill(tmp_path, *[f"images/{path}" for path in CLASSES])
    with pytest.raises(InputError, match=r"Did you mean '.*/images'\?"):
        from_directory(tmp_path)


def test_empty_class_folders_are_told(tmp_path: Path):
    (fill(tmp_path, *CLASSES) / "bird/none").mkdir(parents=True)
    manifest = from_directory(tmp_path)
    assert manifest.class_names == ("cat", "dog")
    assert [(f.kind, f.items) for f in manifest.findings] == [("empty folder", ("bird/none/",))]


# --- tables ---


def table(tmp_path: Path, text: str, name: str = "set.csv") -> Path:
    fill(tmp_path, *[f"pictures/{number}.png" for number in range(8)])
    (tmp_path / name).write_bytes(text.encode())
    return tmp_path / name


ROWS = [f"pictures/{number}.png,{'cat' if number < 4 else 'dog'}" for number in range(8)]


def test_table(tmp_path: Path):
    manifest = from_spec(str(table(tmp_path, "path,label\n" + "\n".join(ROWS))))
    assert manifest.counts()["unassigned"].to_dict() == {"cat": 4, "dog": 4}
    assert read_all(manifest) == ["ok"] * 8


@pytest.mark.parametrize(("separator", "name"), [("\t", "set.tsv"), (";", "set.csv"), ("|", "set.csv")])
def test_separators(tmp_path: Path, separator: str, name: str):
    text = "\n".join(["Image,Class", *ROWS]).replace(",", separator)
    assert from_spec(str(table(tmp_path, text, name))).class_names == ("cat", "dog")


def test_encodings_and_cells_that_look_like_nothing(tmp_path: Path):
    rows = "\n".join(["file,category", *ROWS]).replace("cat\n", "NA\n").replace("dog", "None")
    path = table(tmp_path, "\ufeff" + rows + "\r\n\r\n")
    assert from_table(path).class_names == ("NA", "None")
    path.write_bytes(("\ufeff" + rows).encode("utf-16-le"))
    assert from_table(path).class_names == ("NA", "None")


def test_table_with_split_group_and_chosen_columns(tmp_path: Path):
    rows = [f"{row},p{number // 2},{('train', 'Train', 'val', 'TEST')[number % 4]}" for number, row in enumerate(ROWS)]
    path = table(tmp_path, "\n".join(["where,bird,patient,subset", *rows]))
    manifest = from_table(path, columns={"item": "where", "label": "bird", "group": "patient"})
    assert manifest.items["group"].tolist() == ["p0", "p0", "p1", "p1", "p2", "p2", "p3", "p3"]
    assert manifest.items["split"].tolist() == ["train", "train", "validation", "test"] * 2


def test_rows_that_cannot_be_used_are_told(tmp_path: Path):
    rows = [*ROWS, ROWS[0], "pictures/7.png,cat", ",cat", "pictures/1.png,"]
    manifest = from_table(table(tmp_path, "\n".join(["path,label", *rows])))
    assert [(f.kind, f.items) for f in manifest.findings] == [
        ("no path", ("row 12",)),
        ("no label", ("row 13",)),
        ("conflicting labels", ("pictures/7.png",)),
        ("repeated row", ("pictures/0.png",)),
    ]
    assert len(manifest) == 7


def test_missing_files_become_rows_of_the_audit(tmp_path: Path):
    manifest, audit = check(str(table(tmp_path, "\n".join(["path,label", *ROWS, "gone.png,cat"]))))
    assert [(row.item, row.kind) for row in audit.set_aside] == [("gone.png", "unreadable")]
    assert "No such file" in audit.set_aside[0].problem
    assert len(manifest) == 9


def test_paths_from_windows_and_absolute_ones(tmp_path: Path):
    rows = [row.replace("/", "\\") for row in ROWS[:7]] + [f"{tmp_path}/{ROWS[7]}"]
    manifest = from_table(table(tmp_path, "\n".join(["path,label", *rows])))
    assert read_all(manifest) == ["ok"] * 8


def test_dataframes_and_parquet(tmp_path: Path):
    table(tmp_path, "")
    frame = pd.DataFrame({"path": [row.split(",")[0] for row in ROWS], "label": [0, 0, 0, 0, 1, 1, 1, 1.0]})
    manifest = from_dataframe(frame, root=tmp_path)
    assert manifest.class_names == ("0", "1")
    frame.astype({"label": "int64"}).to_parquet(tmp_path / "set.parquet")
    again = from_spec(str(tmp_path / "set.parquet"))
    assert again.items.equals(manifest.items)


# --- archives ---


def make_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def make_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


MEMBERS = {path: picture(number) for number, path in enumerate(CLASSES)}


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2", "w:xz"])
def test_archives(tmp_path: Path, mode: str):
    members = {f"flowers/v1/{path}": data for path, data in MEMBERS.items()}
    members |= {"__MACOSX/flowers/._x.png": b"x", "flowers/.DS_Store": b"y"}
    path = tmp_path / "archive.bin"  # The content is believed, not the ending.
    path = make_zip(path, members) if mode == "zip" else make_tar(path, members, mode)
    manifest = from_spec(str(path))
    assert manifest.items["item"].tolist() == [f"flowers/v1/{path}" for path in CLASSES]
    assert manifest.class_names == ("cat", "dog")
    assert manifest.notes == ("2 hidden or system files passed over.",)
    assert read_all(manifest) == ["ok"] * 8
    for item in reversed(manifest.items["item"].tolist()):
        assert manifest.source.read(item) == members[item]
    assert os.listdir(tmp_path) == ["archive.bin"]


def test_tar_of_a_working_folder(tmp_path: Path):
    manifest = from_archive(make_tar(tmp_path / "a.tar", {f"./{path}": data for path, data in MEMBERS.items()}))
    assert manifest.class_names == ("cat", "dog")
    assert read_all(manifest) == ["ok"] * 8


def test_archive_with_a_split(tmp_path: Path):
    members = {f"train/{path}": data for path, data in MEMBERS.items()}
    manifest = from_archive(make_zip(tmp_path / "a.zip", members))
    assert manifest.class_names == ("cat", "dog")
    assert list(manifest.counts().columns) == ["train"]


# --- arrays in files ---


def test_npz_whole_and_in_parts(tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8)
    labels = np.arange(12) % 3
    np.savez(tmp_path / "a.npz", images=images, labels=labels, class_names=["x", "y", "z"])
    manifest = from_spec(str(tmp_path / "a.npz"))
    assert manifest.class_names == ("x", "y", "z")
    assert manifest.items["item"].iloc[11] == "a/11"
    assert read_all(manifest) == ["ok"] * 12
    np.savez_compressed(tmp_path / "b.npz", x_train=images, y_train=labels, x_test=images[:6], y_test=labels[:6])
    manifest = from_npz(tmp_path / "b.npz")
    assert manifest.counts().to_dict("list") == {"train": [4, 4, 4], "test": [2, 2, 2]}
    np.savez(
        tmp_path / "c.npz", train_images=images, train_labels=labels[:, None], val_images=images, val_labels=labels
    )
    assert list(from_npz(tmp_path / "c.npz").counts().columns) == ["train", "validation"]


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder: Path, *, packed: bool = False) -> Path:
    folder.mkdir(exist_ok=True)
    for part, number in (("train", 20), ("t10k", 10)):
        images = np.random.default_rng(number).integers(0, 256, (number, 6, 6), dtype=np.uint8)
        labels = (np.arange(number) % 2).astype(np.uint8)
        for what, data in (("images-idx3", idx(images)), ("labels-idx1", idx(labels))):
            path = folder / f"{part}-{what}-ubyte"
            if packed:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(data))
            else:
                path.write_bytes(data)
    return folder


@pytest.mark.parametrize("packed", [False, True])
def test_idx(tmp_path: Path, packed: bool):
    manifest = from_spec(f"idx:{write_idx(tmp_path / 'small', packed=packed)}")
    assert manifest.counts().to_dict("list") == {"train": [10, 10], "test": [5, 5]}
    assert manifest.items["item"].iloc[29] == "small/29"
    assert read_all(manifest) == ["ok"] * 30


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_fashion_mnist():
    manifest = from_idx(FASHION_MNIST)
    assert manifest.counts().to_dict("list") == {"train": [6000] * 10, "test": [1000] * 10}
    first = manifest.source.read("fashion-mnist/00000")
    assert first.shape == (28, 28)
    assert manifest.labels()[:5].tolist() == [9, 0, 0, 3, 0]


def test_sources_do_not_change_what_they_read(tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 256, (8, 6, 6), dtype=np.uint8)
    before = images.copy()
    manifest = from_arrays(images, ["a", "b"] * 4)
    examine(manifest.source.read("arrays/0"))
    replace(manifest, findings=()).split()
    assert np.array_equal(images, before)
