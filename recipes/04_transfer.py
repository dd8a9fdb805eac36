"""Transfer between data sets: MNIST, Fashion-MNIST and digits, each direction against scratch.

Purpose:  show what features learnt on one set are worth on another: likeness decides. With as many steps a small
          network learns these easy sets as well from scratch; only digits gain, from other digits.
Command:  python recipes/04_transfer.py
Data:     builtin:mnist5k, idx:/usr/share/datasets/fashion-mnist and builtin:digits, 300 images a class to learn from
          with LeNet-5; of the new set 10 a class train, repeated tenfold in an epoch, and 10 choose the epoch;
          --data tfds:cifar10,tfds:caltech101 for CIFAR-10 to Caltech-101, with a network and FastNet: not run here
Expected: mnist5k_scratch 82.18 ± 5.24, mnist5k_from_fashion_mnist_frozen 69.73 ± 9.11, mnist5k_from_fashion_mnist_full
          77.42 ± 4.85, mnist5k_from_digits_frozen 73.82 ± 4.56, mnist5k_from_digits_full 81.11 ± 6.56,
          fashion_mnist_scratch 66.21 ± 2.91, fashion_mnist_from_mnist5k_frozen 62.47 ± 1.62,
          fashion_mnist_from_mnist5k_full 65.11 ± 2.47, fashion_mnist_from_digits_frozen 62.34 ± 0.976,
          fashion_mnist_from_digits_full 64.1 ± 2.9, digits_scratch 90.46 ± 2.68, digits_from_mnist5k_frozen 90.71 ±
          1.98, digits_from_mnist5k_full 93.06 ± 2.31, digits_from_fashion_mnist_frozen 85.5 ± 2.72,
          digits_from_fashion_mnist_full 88.6 ± 3.06 (3 seeds)
Machine:  1 of 2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1
Time:     7 minutes, one core beside other work
"""

import sys
import tempfile
from pathlib import Path

import tlkit
from tlkit import recipes

SIZE = 32
SETS = "builtin:mnist5k,idx:/usr/share/datasets/fashion-mnist,builtin:digits"
WAYS = ("frozen", "full")


def classifier(network, parts, weights):
    """The network up to its last feature map, averaged, and a head."""
    return tlkit.build_classifier(f"scratch:{network}", len(parts.class_names), weights=weights, pooling="avg")


def train(model, images, validation, test, strategy, epochs, seed):
    epochs = None if strategy == "frozen" else epochs
    options = {"strategy": strategy, "epochs": epochs, "recipe": tlkit.Recipe(precision="auto"), "seed": seed}
    tlkit.fine_tune(model, images, validation_data=validation, **options)
    return 100 * tlkit.evaluate(model, test)["accuracy"]


def measure(options, seed):
    known, epochs = (8, 1) if options.smoke else (300, 12)
    network = "lenet5" if options.data == SETS else "fastnet_small"
    specs = options.data.split(",")
    names = [Path(spec.rpartition(":")[2]).name.replace("-", "_") for spec in specs]
    sets = [recipes.load_parts(spec, SIZE, seed=seed, per_class=known) for spec in specs]
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        saved = [Path(folder) / f"{name}.keras" for name in names]
        for parts, path in zip(sets, saved, strict=True):
            model = classifier(network, parts, "none")
            train(model, parts.train, parts.validation, parts.test, "scratch", epochs, seed)
            model.save(path)
        for target, parts in zip(names, sets, strict=True):
            few, validation = (recipes.few(part, 10, seed) for part in (parts.train, parts.validation))
            many = recipes.repeated(few, 1 if options.smoke else 10)
            kinds = [("scratch", many, "scratch", "none")]
            for source, path in zip(names, saved, strict=True):
                if source != target:
                    kinds += [(f"from_{source}_{way}", few if way == "frozen" else many, way, path) for way in WAYS]
            for kind, images, strategy, weights in kinds:
                model = classifier(network, parts, weights)
                figures[f"{target}_{kind}"] = train(model, images, validation, parts.test, strategy, epochs, seed)
    return figures


sys.exit(recipes.main(measure, __doc__, data=SETS))
