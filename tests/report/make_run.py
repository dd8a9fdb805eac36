"""Builds small real run folders: digits drawn as pictures, probabilities of a real classifier on their pixels."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.special
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from tlkit.calibration import fit_temperature, log_probabilities
from tlkit.cross_validation import cross_validate
from tlkit.evaluation import evaluate_splits
from tlkit.label_issues import find_label_issues
from tlkit.phase_gains import phase_gains, write_phase_gains

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
PENALTIES = (10.0, 1.0, 0.1, 0.01, 0.001)
PLAIN_START = "=+-@\t\r'"


def build_run(
    folder: Path,
    *,
    num_images: int = 600,
    class_names: Sequence[str] = DIGIT_NAMES,
    digits: Sequence[int] = tuple(range(10)),
    item_name: str = "{label}/{number:05d}.png",
    test_share: float = 0.25,
    epochs: int = 6,
    penalty: float | None = None,
) -> Path:
    """Writes a complete run folder (without a model) and returns it.

    Args:
        folder: Where to write; made if missing.
        num_images: Number of digits taken, in the order of the data set.
        class_names: Name of each digit's class; two digits may share none.
        digits: The digits used, one a class.
        item_name: Pattern of item names.
        test_share: Share of the images in the test part; 0 makes none.
        epochs: Epochs of a second, gradient-trained phase in the history.
        penalty: The penalty whose classifier judges, one of `PENALTIES`; None takes the best on validation.
    """
    data = load_digits()
    chosen = np.flatnonzero(np.isin(data.target, digits))[:num_images]
    labels = np.searchsorted(np.array(digits), data.target[chosen])
    pixels = data.data[chosen] / 16
    splits = _split(labels, test_share)
    mislabelled = np.flatnonzero(splits == "train")[20:100:20]
    labels[mislabelled] = (labels[mislabelled] + 1) % len(digits)
    model, history = _train(pixels, labels, splits, epochs, penalty)
    items = [item_name.format(label=class_names[label], number=row) for row, label in enumerate(labels)]
    pictures = [_picture(data.images[row]) for row in chosen]
    digests = [hashlib.sha256(picture).hexdigest() for picture in pictures]
    parts = [split for split in ("validation", "test") if (splits == split).any()]
    judged = {split: model.predict_proba(pixels[splits == split]).round(4) for split in parts}
    write_folder(folder, items, labels, splits, digests, class_names, judged, history)
    for picture, digest, split in zip(pictures, digests, splits, strict=True):
        if split == ("test" if test_share else "validation"):
            (folder / "thumbnails" / f"{digest[:32]}.jpg").write_bytes(picture)
    _explain(folder, model, (pixels, labels, splits, items, digests, pictures), class_names)
    return folder


def _explain(folder: Path, model: LogisticRegression, images: tuple, class_names: Sequence[str]) -> None:
    """Writes what explains the run; the heat maps are the linear model's own: its weights times the pixels."""
    pixels, labels, splits, items, digests, pictures = images
    judged = np.flatnonzero(splits == ("test" if (splits == "test").any() else "validation"))
    named = model.predict(pixels[judged])
    coefficients = model.coef_ if len(model.coef_) > 1 else np.concatenate([-model.coef_, model.coef_])
    (folder / "explanations").mkdir()
    for row, label in zip(judged, named, strict=True):
        heat = np.maximum(coefficients[label] * pixels[row], 0).reshape(8, 8)
        (folder / "explanations" / f"{digests[row][:32]}.jpg").write_bytes(_picture(heat / max(heat.max(), 1e-9) * 16))
    places = PCA(2, random_state=0).fit_transform(pixels[judged])
    places = (places - places.min(axis=0)) / np.ptp(places, axis=0).max()
    places = [(items[row], *place) for row, place in zip(judged, places.clip(0, 1).round(4).tolist(), strict=True)]
    _write_csv(folder / "embedding.csv", [("item", "x", "y"), *places])
    known = np.flatnonzero(splits != "test")
    folds = cross_validate(pixels[known], labels[known], known % 5, num_classes=len(class_names), penalty=0.01)
    issues = find_label_issues(labels[known], folds.probabilities)
    rows: list[tuple] = [("item", "split", "label", "suggested", "confidence", "label_probability")]
    for row, suggested, sure, given in zip(
        known[issues.rows], issues.suggested, issues.confidence, issues.given, strict=True
    ):
        names = (items[row], splits[row], class_names[labels[row]], class_names[suggested])
        rows.append((*names, round(float(sure), 4), round(float(given), 4)))
        (folder / "thumbnails" / f"{digests[row][:32]}.jpg").write_bytes(pictures[row])
    _write_csv(folder / "label_issues.csv", rows)
    facts = {
        "heat_maps": {"method": "grad-cam", "layer": "pixels", "grid": [8, 8], "images": len(judged)},
        "embedding": {"method": "PCA", "images": len(judged), "of": len(judged)},
        "cross_validation": {
            "folds": 5,
            "images": len(known),
            "accuracy": round(folds.accuracy, 6),
            "standard_error": round(folds.standard_error, 6),
            "fold_accuracies": [round(one, 6) for one in folds.fold_accuracies],
            "penalty": folds.penalty,
        },
        "label_issues": {"images": len(known), "issues": len(issues.rows)},
        "notes": [],
    }
    _write_json(folder / "explanations.json", facts)
    held = splits == "validation"
    weak = LogisticRegression(C=1e-3).fit(pixels[splits == "train"], labels[splits == "train"])
    phases = [("probe", weak.predict_proba(pixels[held])), ("head", model.predict_proba(pixels[held]))]
    write_phase_gains(folder, phase_gains(labels[held], phases))


def _split(labels: np.ndarray, test_share: float) -> np.ndarray:
    splits = np.full(len(labels), "train", dtype=object)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        held = round(len(rows) * test_share)
        splits[rows[:held]] = "test"
        splits[rows[held : held + round(len(rows) * 0.2)]] = "validation"
    return splits


def _train(
    pixels: np.ndarray, labels: np.ndarray, splits: np.ndarray, epochs: int, penalty: float | None
) -> tuple[LogisticRegression, list[dict[str, Any]]]:
    """Fits a path of penalties, as the probe does, and then refits with growing iterations, as epochs would."""
    train, validation = splits == "train", splits == "validation"
    rows: list[dict[str, Any]] = []
    models = []
    for number, tried in enumerate(PENALTIES):
        model = LogisticRegression(C=1 / (tried * train.sum()), tol=1e-8, max_iter=5000)
        models.append(model.fit(pixels[train], labels[train]))
        row = {"phase": "probe", "epoch": number, "penalty": tried, "learning_rate": "", "val_tempered_loss": ""}
        rows.append(row | _figures(model, pixels, labels, train, validation))
    best = PENALTIES.index(penalty) if penalty else int(np.argmin([row["val_loss"] for row in rows]))
    rows[best]["best"] = True
    head = [_epoch(epoch, pixels, labels, train, validation) for epoch in range(epochs)]
    if head:
        min(head, key=lambda row: row["val_tempered_loss"])["best"] = True
    return models[best], rows + head


def _epoch(epoch: int, pixels: np.ndarray, labels: np.ndarray, train: np.ndarray, validation: np.ndarray) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Stopping early is the point: each epoch is a fit with more iterations.
        model = LogisticRegression(C=1e3, max_iter=2 * (epoch + 1) ** 2).fit(pixels[train], labels[train])
    scores = log_probabilities(model.predict_proba(pixels[validation]))
    tempered = scipy.special.softmax(scores / fit_temperature(scores, labels[validation]), axis=1)
    loss = round(float(log_loss(labels[validation], tempered, labels=model.classes_)), 4)
    row = {"phase": "head", "epoch": epoch, "penalty": "", "learning_rate": 0.001, "val_tempered_loss": loss}
    return row | _figures(model, pixels, labels, train, validation)


def _figures(
    model: LogisticRegression, pixels: np.ndarray, labels: np.ndarray, train: np.ndarray, validation: np.ndarray
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for prefix, rows in (("", train), ("val_", validation)):
        figures[f"{prefix}loss"] = round(
            float(log_loss(labels[rows], model.predict_proba(pixels[rows]), labels=model.classes_)), 4
        )
        figures[f"{prefix}accuracy"] = round(float(model.score(pixels[rows], labels[rows])), 4)
    return {name: figures[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")} | {"best": False}


def _picture(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    grey = Image.fromarray((255 - image * 255 / 16).astype(np.uint8))
    grey.resize((96, 96), Image.Resampling.BICUBIC).convert("RGB").save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def write_folder(
    folder: Path,
    items: Sequence[str],
    labels: np.ndarray,
    splits: np.ndarray,
    digests: Sequence[str],
    class_names: Sequence[str],
    probabilities: dict[str, np.ndarray],
    history: list[dict[str, Any]],
) -> None:
    """Writes the files of a run folder, two set-aside files and two findings among them."""
    (folder / "thumbnails").mkdir(parents=True, exist_ok=True)
    order = np.concatenate([np.flatnonzero(splits == split) for split in probabilities])
    values = np.concatenate(list(probabilities.values())).astype(np.float32)
    np.save(folder / "probabilities.npy", values)
    _write_csv(folder / "predictions.csv", _prediction_rows(items, labels, splits, class_names, order, values))
    manifest = [
        (item, class_names[label], split, "", digest, "ok", "")
        for item, label, split, digest in zip(items, labels, splits, digests, strict=True)
    ]
    broken = [
        (f"{class_names[0]}/cut short.jpg", class_names[0], "", "", "0" * 64, "set aside", "the file ends too early"),
        (f"{class_names[1]}/notes.txt.png", class_names[1], "", "", "1" * 64, "set aside", "this is no image"),
    ]
    columns = ("item", "label", "split", "group", "digest", "status", "problem")
    _write_csv(folder / "manifest.csv", [columns, *manifest, *broken])
    _write_csv(folder / "history.csv", [tuple(history[0]), *(tuple(row.values()) for row in history)])
    by_split = {split: labels[splits == split] for split in ("train", "validation", "test")}
    _write_json(folder / "metrics.json", evaluate_splits(by_split, probabilities, class_names))
    _write_json(folder / "audit.json", _audit(manifest, broken))
    _write_json(folder / "environment.json", _environment())
    _write_json(folder / "state.json", {"status": "complete", "version": 1})
    _write_json(
        folder / "transform.json", {"image_size": 96, "store_size": 110, "geometry": "crop", "decoder": "pillow"}
    )
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in class_names), encoding="utf-8")
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")


CONFIG = """[data]
data = "./digits"
validation = 0.2
test = 0.25

[model]
backbone = "efficientnet_lite0"
weights = "imagenet"
image_size = 96

[training]
strategy = "frozen"
epochs = 6
seed = 0

[run]
"""


def _prediction_rows(items, labels, splits, class_names, order, values) -> list[tuple]:
    rows: list[tuple] = [("item", "split", "label", "predicted", "confidence", "correct")]
    for row, distribution in zip(order, values, strict=True):
        predicted = int(distribution.argmax())
        confidence = round(float(distribution.max()), 6)
        right = predicted == labels[row]
        rows.append((items[row], splits[row], class_names[labels[row]], class_names[predicted], confidence, right))
    return rows


def _audit(manifest: list[tuple], broken: list[tuple]) -> dict[str, Any]:
    twins = [row[0] for row in manifest[:2]]
    return {
        "items": len(manifest) + len(broken),
        "usable": len(manifest),
        "set_aside": [{"item": row[0], "kind": "unreadable", "problem": row[6]} for row in broken],
        "findings": [
            {
                "kind": "unreadable",
                "severity": "warning",
                "message": "2 files cannot be read.",
                "items": [broken[0][0]],
            },
            {"kind": "near-duplicates", "severity": "note", "message": "2 images are alike.", "items": twins},
        ],
    }


def _environment() -> dict[str, Any]:
    return {
        "tlkit": "0.1.0",
        "python": "3.11.7",
        "platform": "Linux-6.1-x86_64",
        "processor": "An example processor",
        "cores": 2,
        "memory_bytes": 24_000_000_000,
        "backend": "tensorflow",
        "devices": ["cpu:0"],
        "packages": {"keras": "3.15.1", "tensorflow": "2.21.0", "numpy": "2.4.6"},
        "command": "tlkit finetune --config runs/demo/config.toml",
        "started": "2026-01-02T03:04:05+0000",
        "seconds": {"Decoding the images": 1.25, "Computing features": 7.5, "Fitting the head": 0.75},
    }


def _write_csv(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """Writes cells that a spreadsheet would run as formulas with a quote before them, as runs do."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for row in rows:
            writer.writerow(
                f"'{cell}" if isinstance(cell, str) and cell[:1] in tuple(PLAIN_START) else cell for cell in row
            )


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8")
