"""PyTorch + timm on the very same EfficientNet-Lite0 weights. Runs in the environment that `peers.py` makes.

    python benchmarks/peers_torch.py NAME FOLDER WEIGHTS

Prints one line of JSON as `contenders.py` does. WEIGHTS is the `.pth` file of the package that tlkit reads, too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import timm
import torch
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

SIDE = 96
BATCH = 32
EPOCHS = 10
FULL_EPOCHS = 3
HEAD_RATE, BODY_RATE = 1e-3, 1e-4
SCALING = ([127 / 255] * 3, [128 / 255] * 3)
Result = dict[str, Any]


def network(weights: Path) -> torch.nn.Module:
    """timm's model with the package's weights, matched by order and shape, and a new head."""
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    ours = model.state_dict()
    theirs = dict(torch.load(weights, map_location="cpu"))
    names = [name for name in theirs if "num_batches" not in name]
    slots = [name for name in ours if "num_batches" not in name]
    assert [ours[slot].shape for slot in slots] == [theirs[name].shape for name in names]
    model.load_state_dict(ours | {slot: theirs[name] for slot, name in zip(slots, names, strict=True)})
    model.reset_classifier(10)
    return model.eval()


def loader(folder: Path, part: str, shuffle: bool) -> DataLoader:
    """Files, decoded by two worker processes in every epoch."""
    steps = transforms.Compose([transforms.Resize((SIDE, SIDE)), transforms.ToTensor(), transforms.Normalize(*SCALING)])
    torch.manual_seed(0)
    return DataLoader(ImageFolder(str(folder / part), steps), BATCH, shuffle, num_workers=2, persistent_workers=True)


def accuracy(model: Callable, batches: DataLoader) -> float:
    """Share right."""
    right = total = 0
    with torch.inference_mode():
        for x, y in batches:
            right += int((model(x).argmax(1) == y).sum())
            total += len(y)
    return right / total


def fit(
    model: torch.nn.Module, train: DataLoader, val: DataLoader, rate: float, epochs: int, start: float
) -> list[tuple[float, float]]:
    """Trains what requires gradients, normalisation in inference mode; returns the curve."""
    optimizer = torch.optim.Adam([weight for weight in model.parameters() if weight.requires_grad], rate)
    loss_of, curve = torch.nn.CrossEntropyLoss(), []
    for _ in range(epochs):
        for x, y in train:
            optimizer.zero_grad()
            loss_of(model(x), y).backward()
            optimizer.step()
        curve.append((time.perf_counter() - start, accuracy(model, val)))
    return curve


def trained(folder: Path, weights: Path, trainable: tuple[str, ...], rate: float, epochs: int) -> Result:
    """Fits the modules whose names begin with one of `trainable`."""
    model = network(weights)
    normalisations = {
        f"{name}.{kind}"
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
        for kind in ("weight", "bias")
    }
    for name, weight in model.named_parameters():
        weight.requires_grad = name.startswith(trainable) and name not in normalisations
    start = time.perf_counter()
    train, val, test = (loader(folder, part, part == "train") for part in ("train", "val", "test"))
    curve = fit(model, train, val, rate, epochs, start)
    seconds = time.perf_counter() - start
    best = max(value for _, value in curve)
    return {"seconds": seconds, "val_accuracy": best, "test_accuracy": accuracy(model, test), "curve": curve}


def pooled(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What the head reads."""
    return model.forward_head(model.forward_features(x), pre_logits=True)


def linear_probe(folder: Path, weights: Path) -> Result:
    """Features once, then ten epochs of a linear layer on them."""
    model = network(weights)
    start = time.perf_counter()
    parts = {}
    with torch.inference_mode():
        for part in ("train", "val", "test"):
            found = [
                (model.forward_head(model.forward_features(x), pre_logits=True), y)
                for x, y in loader(folder, part, False)
            ]
            parts[part] = TensorDataset(*(torch.cat(column).clone() for column in zip(*found, strict=True)))
    head = torch.nn.Linear(1280, 10)
    batches = {part: DataLoader(rows, BATCH, shuffle=part == "train") for part, rows in parts.items()}
    curve = fit(head, batches["train"], batches["val"], HEAD_RATE, EPOCHS, start)
    seconds = time.perf_counter() - start
    best = max(value for _, value in curve)
    return {"seconds": seconds, "val_accuracy": best, "test_accuracy": accuracy(head, batches["test"]), "curve": curve}


CONTENDERS: dict[str, Callable[[Path, Path], Result]] = {
    "frozen: PyTorch + timm, features once": linear_probe,
    "frozen: PyTorch + timm": lambda folder, weights: trained(folder, weights, ("classifier",), HEAD_RATE, EPOCHS),
    "partial: PyTorch + timm": lambda folder, weights: trained(
        folder, weights, ("blocks.6", "conv_head", "bn2", "classifier"), BODY_RATE, EPOCHS
    ),
    "full: PyTorch + timm": lambda folder, weights: trained(folder, weights, ("",), BODY_RATE, FULL_EPOCHS),
}


def features_of(folder: Path, weights: Path) -> Result:
    """Mean and spread of the features of the val pictures: to show that the weights are those of Keras's network."""
    model = network(weights)
    with torch.inference_mode():
        found = [
            model.forward_head(model.forward_features(x), pre_logits=True) for x, _ in loader(folder, "val", False)
        ]
    rows = torch.cat(found)
    return {"mean": float(rows.mean()), "std": float(rows.std())}


if __name__ == "__main__":
    chosen, pictures, file = sys.argv[1:]
    contender = features_of if chosen == "features" else CONTENDERS[chosen]
    print(json.dumps(contender(Path(pictures), Path(file))))
