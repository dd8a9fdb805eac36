"""What the audit says of sets made to have each fault, and that the split honours it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_images

from tlkit.data import Audit, Finding, audit, check, from_arrays, from_directory, scan
from tlkit.errors import InputError
from tlkit.run import write_json

PHOTOS = load_sample_images().images


CUTTINGS = [
    cutting
    for photo in PHOTOS
    for top in range(0, 330, 40)
    for left in range(0, 550, 40)
    if (cutting := photo[top : top + 96, left : left + 96]).std() > 35
]


def tile(number: int) -> Image.Image:
    """One of some 150 different cuttings of photographs."""
    return Image.fromarray(CUTTINGS[number]).resize((128, 128))


def save(path: Path, image: Image.Image, name: str = "PNG", **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, name, **options)
    return path


def tiles(root: Path, classes: dict[str, int]) -> Path:
    number = 0
    for label, count in classes.items():
        for position in range(count):
            save(root / label / f"{position:03d}.png", tile(number))
            number += 1
    return root


def kinds(result: Audit) -> dict[str, Finding]:
    return {finding.kind: finding for finding in result.findings}


def test_a_sound_set_has_no_findings(tmp_path: Path):
    manifest, result = check(str(tiles(tmp_path, {"a": 24, "b": 24})))
    assert result.findings == ()
    assert result.worst() == ""
    assert result.clusters.tolist() == [-1] * 48
    assert (manifest.items["digest"].str.len() == 64).all()
    assert result.to_dict() == {"items": 48, "usable": 48, "set_aside": [], "findings": []}


def test_faults_of_single_images(tmp_path: Path):
    root = tiles(tmp_path, {"a": 24, "b": 24})
    (root / "a/empty.jpg").write_bytes(b"")
    (root / "a/text.jpg").write_text("hello")
    half = save(root / "a/half.jpg", tile(90), "JPEG").read_bytes()
    (root / "a/half.jpg").write_bytes(half[: len(half) // 2])
    save(root / "b/really.jpg", tile(91), "PNG")
    save(root / "b/tiny.png", tile(92).resize((16, 40)))
    save(root / "b/wide.png", tile(93).resize((500, 100)))
    save(root / "b/blank.png", Image.new("RGB", (80, 80), "grey"))
    save(root / "b/moves.gif", tile(94), "GIF", save_all=True, append_images=[tile(95)])
    save(root / "b/huge.png", tile(96).convert("1").resize((7200, 7200)), "PNG")
    manifest, result = check(str(root), max_pixels=60_000_000)
    found = kinds(result)
    assert {kind: finding.items for kind, finding in found.items()} == {
        "empty": ("a/empty.jpg",),
        "not an image": ("a/text.jpg",),
        "truncated": ("a/half.jpg",),
        "wrong ending": ("b/really.jpg",),
        "tiny": ("b/tiny.png",),
        "huge": ("b/huge.png",),
        "extreme aspect": ("b/wide.png",),
        "blank": ("b/blank.png",),
        "animation": ("b/moves.gif",),
    }
    assert [(row.item, row.kind) for row in result.set_aside] == [
        ("a/empty.jpg", "empty"),
        ("a/half.jpg", "truncated"),
        ("a/text.jpg", "not an image"),
    ]
    assert manifest.usable.sum() == len(manifest) - 3
    assert result.worst() == "warning"
    _, limited = check(str(root), max_pixels=10_000_000)
    assert kinds(limited)["too large"].items == ("b/huge.png",)
    assert "limit is 10,000,000" in kinds(limited)["too large"].message


def test_the_audit_is_json_and_leaves_the_folder_alone(tmp_path: Path):
    root = tiles(tmp_path / "images", {"a": 4, "b": 30})
    (root / "a/bad.jpg").write_bytes(b"x")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    _, result = check(str(root))
    write_json(tmp_path / "audit.json", result.to_dict())
    read = json.loads((tmp_path / "audit.json").read_text())
    assert read["set_aside"] == [
        {"item": "a/bad.jpg", "kind": "not an image", "problem": "Not an image: it starts with b'x'."}
    ]
    assert (read["items"], read["usable"]) == (35, 34)
    assert {finding["kind"] for finding in read["findings"]} == {"not an image", "small class", "imbalance"}
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_duplicates_are_told_and_kept_in_one_part(tmp_path: Path):
    root = tiles(tmp_path, {"a": 24, "b": 24})
    for number in range(8):
        file = (root / f"a/{number:03d}.png").read_bytes()
        (root / f"a/copy{number}.png").write_bytes(file)
        save(root / f"a/same{number}.bmp", tile(number), "BMP")
        save(root / f"a/near{number}.jpg", tile(number).resize((100, 100)), "JPEG", quality=70)
    manifest, result = check(str(root))
    found = kinds(result)
    assert len(found["duplicate files"].details["groups"]) == 8
    assert ["a/000.png", "a/copy0.png"] in found["duplicate files"].details["groups"]
    assert len(found["duplicate pictures"].details["groups"]) == 8
    assert {"a/000.png", "a/near0.jpg"} <= set(found["near-duplicates"].items)
    for seed in range(10):
        split = manifest.split(seed=seed)
        for number in range(8):
            names = (f"{number:03d}.png", f"copy{number}.png", f"same{number}.bmp", f"near{number}.jpg")
            family = split.items["item"].isin([f"a/{name}" for name in names])
            assert family.sum() == 4
            assert split.items["split"][family].nunique() == 1
    assert (result.clusters[manifest.items["item"].str.contains("near")] >= 0).all()


def test_the_same_picture_under_two_labels(tmp_path: Path):
    root = tiles(tmp_path, {"a": 24, "b": 24})
    (root / "b/copy.png").write_bytes((root / "a/003.png").read_bytes())
    save(root / "b/again.jpg", tile(5), "JPEG", quality=60)
    found = kinds(check(str(root))[1])
    assert found["conflicting labels"].details["groups"] == [["a/003.png (a)", "b/copy.png (b)"]]
    assert found["conflicting labels"].severity == "error"
    assert found["near-duplicates across labels"].items == ("a/005.png", "b/again.jpg")


def test_leaks_across_a_given_split(tmp_path: Path):
    for part, classes in (("train", {"a": 10, "b": 10}), ("test", {"a": 5, "b": 5})):
        number = 0 if part == "train" else 40
        for label, count in classes.items():
            for position in range(count):
                save(tmp_path / part / label / f"{position}.png", tile(number))
                number += 1
    (tmp_path / "test/a/copy.png").write_bytes((tmp_path / "train/a/3.png").read_bytes())
    save(tmp_path / "test/b/near.jpg", tile(14), "JPEG", quality=70)
    manifest, result = check(str(tmp_path))
    leaks = [finding for finding in result.findings if finding.kind == "leak"]
    assert {leak.severity for leak in leaks} == {"error"}
    assert [leak.items for leak in leaks] == [
        ("test/a/copy.png", "train/a/3.png"),
        ("test/b/near.jpg", "train/b/4.png"),
    ]
    split = manifest.split()
    placed = dict(zip(split.items["item"], split.items["split"], strict=True))
    assert (placed["train/a/3.png"], placed["test/a/copy.png"]) == ("", "test")
    assert (placed["train/b/4.png"], placed["test/b/near.jpg"]) == ("", "test")
    kept = manifest.split(honour_leaks=False)
    assert kept.items["split"][kept.items["item"] == "train/a/3.png"].item() in ("train", "validation")


def test_groups_across_a_given_split_are_named(tmp_path: Path):
    rows = [
        f"{label}/{number:03d}.png,{label},{'test' if number % 4 == 0 else 'train'},p{number // 8}"
        for label in "ab"
        for number in range(24)
    ]
    (tiles(tmp_path, {"a": 24, "b": 24}) / "set.csv").write_text("\n".join(["path,label,split,group", *rows]))
    found = kinds(check(str(tmp_path / "set.csv"))[1])
    assert found["group across parts"].severity == "error"
    assert "3 times images of one group" in found["group across parts"].message


def products(number: int) -> list[Image.Image]:
    """The same part photographed again and again, every other one with a small scratch."""
    generator = np.random.default_rng(0)
    made = []
    for position in range(number):
        image = Image.new("RGB", (128, 128), "white")
        draw = ImageDraw.Draw(image)
        draw.ellipse((20, 20, 108, 108), fill=(90, 90, 100))
        draw.rectangle((50, 50, 78, 78), fill=(200, 180, 60))
        if position % 2:
            at = generator.integers(30, 90, 2).tolist()
            draw.line((*at, at[0] + 6, at[1] + 3), fill="black")
        pixels = np.asarray(image, np.int16) + generator.integers(-3, 4, (128, 128, 3))
        made.append(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)))
    return made


def test_grouping_goes_off_where_looking_alike_is_not_being_the_same():
    images = np.stack([np.asarray(image) for image in products(120)])
    manifest = from_arrays(images, ["good", "scratched"] * 60)
    result = audit(manifest, scan(manifest))
    finding = kinds(result)["grouping off"]
    assert finding.severity == "warning"
    assert "group column" in finding.message
    assert result.clusters.max() == -1
    counts = result.manifest.split().counts()
    assert counts.to_dict("list") == {"train": [42, 42], "validation": [9, 9], "test": [9, 9]}


def test_many_near_pairs_across_labels_put_grouping_off():
    families = [tile(number) for number in range(40)]
    noisy = [np.asarray(image.resize((120, 120)).resize((128, 128))) for image in families]
    images = np.stack([*(np.asarray(image) for image in families), *noisy])
    same = from_arrays(images, [f"class {number % 4}" for number in range(40)] * 2)
    assert "grouping off" not in kinds(audit(same, scan(same)))
    mixed = from_arrays(images, ["x"] * 40 + ["y"] * 40)
    assert "lie across labels" in kinds(audit(mixed, scan(mixed)))["grouping off"].message


def test_digits_do_not_explode():
    manifest, result = check("builtin:digits")
    assert [finding.kind for finding in result.findings] == ["tiny"]
    assert result.clusters.max() == -1
    assert result.findings[0].message.startswith("All 1,797 images")
    assert manifest.split().items["split"].tolist() == check("builtin:digits")[0].split().items["split"].tolist()


def test_clusters_do_not_depend_on_names(tmp_path: Path):
    first = tiles(tmp_path / "one", {"a": 12, "b": 12})
    for number in range(5):
        save(first / f"a/near{number}.jpg", tile(number), "JPEG", quality=70)
    second = tmp_path / "two"
    for number, path in enumerate(sorted(first.rglob("*.*"), reverse=True)):
        target = second / path.parent.name / f"{number:03d}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    parts = []
    for root in (first, second):
        manifest = check(str(root))[0].split()
        rows = manifest.items[["split", "cluster"]].to_numpy().tolist()
        parts.append(dict(zip(manifest.items["digest"], rows, strict=True)))
    assert parts[0] == parts[1]
    assert sum(bool(cluster) for _, cluster in parts[0].values()) == 10


def test_classes(tmp_path: Path):
    root = tiles(tmp_path, {"large": 60, "small": 8, "two": 2})
    _, result = check(str(root))
    found = kinds(result)
    assert (found["class too small"].severity, found["class too small"].items) == ("error", ("two",))
    assert found["small class"].items == ("small",)
    assert "'large' has 60 images, 'two' has 2" in found["imbalance"].message
    with pytest.raises(InputError, match=r"at least 3 usable images a class.*'two' has 2"):
        from_directory(root)
    with pytest.raises(InputError, match="'two' has 2"):
        result.manifest.split()


def test_one_class_and_nothing_readable(tmp_path: Path):
    _, result = check(str(tiles(tmp_path / "one", {"only": 5})))
    assert kinds(result)["one class"].severity == "error"
    for label in "ab":
        for number in range(3):
            path = tmp_path / "none" / label / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes([number]))
    manifest, result = check(str(tmp_path / "none"))
    assert result.to_dict()["usable"] == 0
    with pytest.raises(InputError, match="6 items, none readable"):
        manifest.split()


def test_set_aside_images_are_in_no_part(tmp_path: Path):
    root = tiles(tmp_path, {"a": 12, "b": 12})
    (root / "a/bad.jpg").write_bytes(b"bad")
    manifest = check(str(root))[0].split()
    row = manifest.items[manifest.items["item"] == "a/bad.jpg"].iloc[0]
    assert (row["split"], row["status"]) == ("", "set aside")
    assert row["problem"].startswith("Not an image")


def test_progress_is_told_to_the_end(tmp_path: Path):
    told: list[tuple[int, int]] = []
    check(str(tiles(tmp_path, {"a": 30, "b": 20})), lambda done, total: told.append((done, total)))
    assert told[-1] == (50, 50)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert len(told) >= 3


PEAK = """
import sys
from tlkit.data import check
check(sys.argv[1])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""  # Not getrusage, whose peak begins with that of the process that started this one.


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak where Linux tells it")
def test_memory_does_not_grow_with_the_number_of_images(tmp_path: Path):
    """What is kept of an image takes some 4 KB: 36 MB for 9,000 more, where a single large photograph takes as much."""
    peaks = []
    for number in (1_000, 10_000):
        generator = np.random.default_rng(0)
        root = tmp_path / str(number)
        for position in range(number):
            blobs = Image.fromarray(generator.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize((400, 300))
            save(root / ("a" if position % 2 else "b") / f"{position}.jpg", blobs, "JPEG")
        run = subprocess.run([sys.executable, "-c", PEAK, str(root)], capture_output=True, text=True, check=True)
        peaks.append(int(run.stdout) * 1024)
    assert peaks[1] - peaks[0] < 5_000 * 9_000, peaks
