"""The two first fits of the head on few pictures: logistic regression against ridge regression, in pairs.

    python benchmarks/few_shot.py

Features of EfficientNet-Lite0 at 96 px with ImageNet weights; digits, MNIST-5k and Fashion-MNIST. Of each class 1 to 50
pictures train, a fifth as many (one at least) validate, which ridge does not look at, and 100 test; five seeds.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.special import log_softmax

from recipes import read_images
from tlkit.backend import start_keras

SIZE, TEST, SEEDS = 96, 100, 5
SHOTS = (1, 2, 5, 10, 20, 50)


def features_of(data: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns pooled features (images, 1280) and labels of 170 pictures a class."""
    import keras

    from tlkit.backbones.build import build_backbone
    from tlkit.features import predict_in_order

    pictures, labels = read_images(data)
    random = np.random.default_rng(0)
    chosen = np.concatenate([random.permutation(np.flatnonzero(labels == known))[:170] for known in range(10)])
    grey = pictures[chosen] * (255 / pictures.max())
    enlarged = [Image.fromarray(one.astype("uint8")).convert("RGB").resize((SIZE, SIZE)) for one in grey]
    network = build_backbone("efficientnet_lite0", image_size=SIZE)
    pooled = keras.Model(network.input, keras.layers.GlobalAveragePooling2D()(network.output))
    images = np.stack([np.asarray(one) for one in enlarged])
    return predict_in_order(pooled, (images, labels[chosen]))[0], labels[chosen]


def divided(labels: np.ndarray, shots: int, seed: int) -> tuple[list[int], list[int], list[int]]:
    """Returns the rows that train, validate and test."""
    random, parts = np.random.default_rng(seed), ([], [], [])
    for known in range(10):
        order = random.permutation(np.flatnonzero(labels == known)).tolist()
        parts[0].extend(order[:shots])
        parts[1].extend(order[shots : shots + max(1, round(shots / 5))])
        parts[2].extend(order[-TEST:])
    return parts


def judged(kernel: np.ndarray, bias: np.ndarray, rows: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Returns accuracy and log-loss."""
    scores = rows @ kernel + bias
    loss = -log_softmax(scores, axis=1)[np.arange(len(labels)), labels].mean()
    return float((scores.argmax(axis=1) == labels).mean()), float(loss)


def main() -> None:
    """Prints the table."""
    start_keras()
    from tlkit.probe import fit_probe
    from tlkit.ridge import fit_ridge

    print("data, images a class: accuracy and log-loss, logistic | ridge; difference of accuracy by seed, points")
    for data in ("digits", "mnist", "fashion"):
        rows, labels = features_of(data)
        for shots in SHOTS:
            found = []
            for seed in range(SEEDS):
                train, validation, test = divided(labels, shots, seed)
                logistic = fit_probe(rows[train], labels[train], rows[validation], labels[validation], num_classes=10)
                ridge = fit_ridge(rows[train], labels[train], num_classes=10)
                found.append([judged(head.kernel, head.bias, rows[test], labels[test]) for head in (logistic, ridge)])
            means, gains = np.mean(found, axis=0), 100 * (np.array(found)[:, 1, 0] - np.array(found)[:, 0, 0])
            told = " | ".join(f"{accuracy:.1%} {loss:.2f}" for accuracy, loss in means)
            print(f"{data}, {shots}: {told}; {', '.join(f'{gain:+.1f}' for gain in gains)}", flush=True)


if __name__ == "__main__":
    main()
