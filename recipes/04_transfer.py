"""Transfer between data sets: MNIST, Fashion-MNIST and digits, each direction against scratch.

Purpose:  show what features learnt on one set are worth on another, and that likeness of the sets decides.
Command:  python recipes/04_transfer.py
Data:     builtin:mnist5k, idx:/usr/share/datasets/fashion-mnist and builtin:digits, 300 images a class to learn from,
          10 a class of the new set; --data tfds:cifar10,tfds:caltech101 for CIFAR-10 to Caltech-101, with a network
Expected: mnist5k_scratch 80.49 ± 4.54, fashion_mnist_scratch 60.58 ± 4.17, digits_scratch 88.1 ± 5.45,
          mnist5k_to_fashion_mnist_frozen 62.74 ± 2.46, mnist5k_to_fashion_mnist_full 63.02 ± 1.45,
          mnist5k_to_digits_frozen 90.83 ± 2.4, mnist5k_to_digits_full 91.57 ± 3.79, fashion_mnist_to_mnist5k_frozen
          70 ± 8.38, fashion_mnist_to_mnist5k_full 71.64 ± 8.42, fashion_mnist_to_digits_frozen 85.38 ± 3.42,
          fashion_mnist_to_digits_full 86.99 ± 3.23, digits_to_mnist5k_frozen 74.04 ± 4.59, digits_to_mnist5k_full 76
          ± 4.85, digits_to_fashion_mnist_frozen 62.5 ± 0.757, digits_to_fashion_mnist_full 62.6 ± 1.14 (3 seeds; 10
          images a class of the new set)
Machine:  2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1
Time:     15 minutes, the two cores shared with much other work; measured while the body still trained at 3e-4
"""

import itertools
import sys
import tempfile
from pathlib import Path

import tlkit
from tlkit import recipes

SIZE = 32
SETS = "builtin:mnist5k,idx:/usr/share/datasets/fashion-mnist,builtin:digits"


def train(model, images, parts, strategy, epochs, seed):
    tlkit.fine_tune(model, images, validation_data=parts.validation, strategy=strategy, epochs=epochs, seed=seed)
    return 100 * tlkit.evaluate(model, parts.test)["accuracy"]


def classifier(parts, weights):
    """LeNet-5 up to its 120 features, and a head."""
    return tlkit.build_classifier("scratch:lenet5", len(parts.class_names), weights=weights, pooling="avg")


def measure(options, seed):
    known, epochs = (8, 1) if options.smoke else (300, 12)
    specs = options.data.split(",")
    names = [Path(spec.rpartition(":")[2]).name.replace("-", "_") for spec in specs]
    sets = {
        name: recipes.load_parts(spec, SIZE, seed=seed, per_class=known)
        for name, spec in zip(names, specs, strict=True)
    }
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, parts in sets.items():
            model = classifier(parts, "none")
            train(model, parts.train, parts, "scratch", epochs, seed)
            model.save(Path(folder) / f"{name}.keras")
            few = recipes.few(parts.train, 10, seed)
            figures[f"{name}_scratch"] = train(classifier(parts, "none"), few, parts, "scratch", 2 * epochs, seed)
        for source, target in itertools.permutations(names, 2):
            parts = sets[target]
            few = recipes.few(parts.train, 10, seed)
            for strategy in ("frozen", "full"):
                model = classifier(parts, Path(folder) / f"{source}.keras")
                figures[f"{source}_to_{target}_{strategy}"] = train(model, few, parts, strategy, epochs, seed)
    return figures


sys.exit(recipes.main(measure, __doc__, data=SETS))
