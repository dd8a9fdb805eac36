"""CIFAR-10 from scratch with the fast network, meant to reach 94 % on a GPU.

Purpose:  train a modern small network from random weights on natural pictures.
Command:  python recipes/03_cifar10.py --data tfds:cifar10
Data:     tfds:cifar10 with a network: 42,500 train, 7,500 choose the epoch, 10,000 test; without one, the default
          idx:/usr/share/datasets/fashion-mnist runs the same lines
Expected: not run here: the set needs a network, and 94 % a GPU
Machine:  none yet
Time:     minutes on a GPU, hours on two cores
"""

import sys

import tlkit
from tlkit import recipes
from tlkit.augment import AugmentedDataset, RandomView


def measure(options, seed):
    parts = recipes.load_parts(options.data, 32, seed=seed, per_class=8 if options.smoke else None)
    name = "fastnet_small" if options.smoke else "fastnet"
    model = tlkit.build_classifier(f"scratch:{name}", len(parts.class_names), image_size=32)
    view = RandomView(size=32, scale=(0.7, 1.0), flip=True)
    tlkit.fine_tune(
        model,
        AugmentedDataset(parts.train, [view], seed=seed),
        validation_data=parts.validation,
        strategy="scratch",
        epochs=1 if options.smoke else 40,
        learning_rate=4e-3,
        recipe=tlkit.Recipe(batch_size=128, label_smoothing=0.1, precision="auto"),
        seed=seed,
    )
    return {"accuracy": 100 * tlkit.evaluate(model, parts.test)["accuracy"]}


sys.exit(recipes.main(measure, __doc__, data="idx:/usr/share/datasets/fashion-mnist", gigabytes=4.0))
