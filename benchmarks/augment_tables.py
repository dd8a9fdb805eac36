"""The tables of augment.md, from the figures measured so far."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from augment_figures import BATCH, FASHION_IMAGE, FOLDS, IMAGE, MNIST, SEEDS, TABLE, known

KERAS_NOTES = """## What to know of Keras's own layers

Tried one by one under JAX in Keras 3.15.1: eagerly, compiled, and inside `fit`; MixUp and CutMix eagerly alone.

- `RandomElasticTransform` fails under JAX wherever it is compiled, in `fit` too (`'str' object has no attribute
  '_error_repr'`). The other layers of the table above run under JAX.
- `RandomSaturation` refuses uint8 pictures when it is called eagerly under JAX; give it float32.
- `RandomGrayscale` refuses a dict of images and labels under TensorFlow; give it images alone.
- `RandomCrop` cuts the same piece out of all pictures of a batch, and `RandAugment` does the same to all of them.
- `MixUp` and `CutMix` take labels as one-hot vectors only."""


def write_table() -> None:
    """Writes augment.md from the figures measured so far."""
    from tlkit.run import write_text

    found = known()
    parts = [
        "# Augmentation: cost and gain",
        "Written by `python benchmarks/augment.py table`, which tells how each figure is had.",
    ]
    parts += [*cost_tables(found), KERAS_NOTES, *mnist_table(found), *fashion_table(found), *views_table(found)]
    write_text(TABLE, "\n\n".join(parts) + "\n")
    print(f"Written: {TABLE}")


def markdown(columns: tuple[str, ...], rows: list[tuple]) -> str:
    """Returns a table."""
    lines = [columns, ("---",) * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def cost_tables(found: dict[str, Any]) -> list[str]:
    """Returns the tables of costs, one for each backend measured."""
    parts = []
    for backend in sorted({name.split("/")[0] for name in found if name.endswith("/load before")}):
        step, load = found.get(f"{backend}/step"), found[f"{backend}/load before"]
        told = f"{step:.1f} ms an image" if step else "not measured yet"
        rows = [
            (f"`{name.split('/', 2)[2]}`", whose, f"{value:.2f}", f"{value / step:.1%}" if step else "")
            if isinstance(value, float)
            else (f"`{name.split('/', 2)[2]}`", whose, value, "")
            for whose, kind in (("tlkit", "ours"), ("Keras", "keras"))
            for name, value in found.items()
            if name.startswith(f"{backend}/{kind}/")
        ]
        parts += [
            f"## Cost under {backend}",
            f"Milliseconds an image at {IMAGE} px in batches of {BATCH}, the smallest of several timings, draws and "
            f"rounding included. A training step of all of MobileNetV2: {told}. Load average before: {load}.",
            markdown(("Layer or preset", "From", "ms an image", "of a step"), rows),
        ]
    return parts


def mnist_table(found: dict[str, Any]) -> list[str]:
    """Returns the paired comparisons on MNIST-5k."""
    rows = []
    for protocol, (network, side, epochs) in MNIST.items():
        pairs = [
            (found[f"{protocol}/none/{seed}/{fold}"], found[f"{protocol}/strong/{seed}/{fold}"])
            for seed, fold in itertools.product(SEEDS, range(FOLDS))
            if f"{protocol}/strong/{seed}/{fold}" in found
        ]
        if len(pairs) < 2:
            continue
        plain, strong = np.array(pairs).T
        low, high = (100 * end for end in paired_interval(strong - plain))
        gain = f"{100 * (strong - plain).mean():+.2f}"
        means = (f"{plain.mean():.2%}", f"{strong.mean():.2%}", gain, f"{low:+.2f} to {high:+.2f}")
        rows.append((f"`{network}`, {side} px", str(epochs), f"{len(pairs)} of {FOLDS * len(SEEDS)}", *means))
    columns = ("network", "epochs", "pairs", "none", "strong", "gain, points", "95 % interval (paired t)")
    return ["## MNIST-5k from scratch", markdown(columns, rows)] if rows else []


def paired_interval(gains: np.ndarray) -> tuple[float, float]:
    """Returns the 95 % interval of a mean by Student's t."""
    from scipy.stats import t

    half = t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    return float(gains.mean() - half), float(gains.mean() + half)


def fashion_table(found: dict[str, Any]) -> list[str]:
    """Returns the comparison on Fashion-MNIST."""
    rows = []
    for strategy in ("frozen", "partial"):
        for count in (10, 100):
            seeds = [seed for seed in SEEDS if f"fashion/{strategy}/{count}/auto/{seed}" in found]
            if seeds:
                sides = [
                    [found[f"fashion/{strategy}/{count}/{name}/{seed}"] for seed in seeds] for name in ("none", "auto")
                ]
                means = [np.mean([one["accuracy"] for one in side]) for side in sides]
                seconds = [np.mean([one["seconds"] for one in side]) for side in sides]
                gains = [100 * (b["accuracy"] - a["accuracy"]) for a, b in zip(*sides, strict=True)]
                each = ", ".join(f"{gain:+.2f}" for gain in gains)
                taken = " / ".join(f"{one:.0f}" for one in seconds)
                told = [f"{mean:.2%}" for mean in means]
                rows.append((strategy, count, len(seeds), *told, f"{np.mean(gains):+.2f} ({each})", taken))
    if not rows:
        return []
    columns = ("strategy", "images a class", "seeds", "none", "auto", "gain, points (by seed)", "seconds, none / auto")
    told = (
        f"EfficientNet-Lite0 from ImageNet weights at {FASHION_IMAGE} px, accuracy on the 10,000 test images. `auto` "
        "chose `light`, in twice the epochs. Another seed of the dropout alone moves a training of `partial` by half a "
        "point with 100 images a class, by two points with 10. Times beside another training, on one core."
    )
    return ["## Fashion-MNIST", told, markdown(columns, rows)]


def views_table(found: dict[str, Any]) -> list[str]:
    """Returns the comparison of views."""
    rows = []
    for views in (1, 4, 8, 10):
        cells = [found[f"views/{views}/{seed}"] for seed in SEEDS if f"views/{views}/{seed}" in found]
        if cells:
            told = f"{views} (a view an epoch: live)" if views == 10 else views
            rows.append(
                (
                    told,
                    len(cells),
                    f"{np.mean([one['accuracy'] for one in cells]):.2%}",
                    f"{np.mean([one['seconds'] for one in cells]):.0f}",
                )
            )
    if not rows:
        return []
    told = (
        "Fashion-MNIST, 100 images a class, `partial` with `light`, ten epochs of the body; times beside another "
        "training, on one core."
    )
    return ["## Views", told, markdown(("views", "seeds", "accuracy", "seconds of training"), rows)]
