"""A protocol in the manner of VTAB-1k: 1,000 images, 1,000 steps, one setting for every set.

Purpose:  compare sets by the same small budget, with nothing tuned to any of them.
Command:  python recipes/06_vtab.py
Data:     builtin:digits, builtin:mnist5k and idx:/usr/share/datasets/fashion-mnist at 64 pixels: 800 images train, 200
          choose the best of at most 1,000 steps, at most 200 a class test; X. Zhai et al., "A large-scale study of
          representation learning", 2019, has the protocol;
          --data tfds:caltech101,tfds:cifar100,tfds:oxford_flowers102 with a network: not run here
Expected: digits_accuracy 99.01 ± 0.424, mnist5k_accuracy 97.2 ± 0.8, fashion_mnist_accuracy 86.5 ± 0.954 (3 seeds)
Machine:  1 of 2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1; EfficientNet-Lite0
Time:     43 minutes, one core beside other work
"""

import sys
from pathlib import Path

import numpy as np

import tlkit
from tlkit import recipes

SIZE, IMAGES, STEPS, BATCH = 64, 1000, 1000, 32
SETS = "builtin:digits,builtin:mnist5k,idx:/usr/share/datasets/fashion-mnist"


def measure(options, seed):
    figures = {}
    for spec in options.data.split(",")[: 1 if options.smoke else None]:
        name = Path(spec.rpartition(":")[2]).name.replace("-", "_")
        parts = recipes.load_parts(spec, SIZE, seed=seed, per_class=12 if options.smoke else 200)
        x, y = (np.concatenate(both) for both in zip(parts.train, parts.validation, strict=True))
        order = np.random.default_rng(seed).permutation(len(x))[:IMAGES]
        train, validation = ((x[rows], y[rows]) for rows in np.split(order, [len(order) * 4 // 5]))
        steps = 4 if options.smoke else STEPS
        model = tlkit.build_classifier("efficientnet_lite0", len(parts.class_names), image_size=SIZE)
        tlkit.fine_tune(
            model,
            train,
            validation_data=validation,
            strategy="full",
            epochs=max(steps * BATCH // len(train[0]), 1),
            recipe=tlkit.Recipe(batch_size=BATCH, precision="auto"),
            seed=seed,
        )
        figures[f"{name}_accuracy"] = 100 * tlkit.evaluate(model, parts.test)["accuracy"]
    return figures


sys.exit(recipes.main(measure, __doc__, data=SETS))
