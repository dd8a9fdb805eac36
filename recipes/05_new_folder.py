"""From ImageNet to a new set: frozen, partial, full and auto, each with its accuracy and time.

Purpose:  show what each strategy gains over the frozen network, and what it costs in minutes.
Command:  python recipes/05_new_folder.py
Data:     builtin:digits at 64 pixels; --data ./images, tfds:oxford_flowers102, tfds:oxford_iiit_pet, tfds:caltech101
          or tfds:cifar10 with a network (mixed precision on a GPU by itself)
Expected: frozen_accuracy 92.94 ± 0.0744, partial_accuracy 96.65 ± 0.0352, full_accuracy 96.47 ± 1.54,
          auto_accuracy 98.52 ± 2.09 (2 seeds)
Machine:  1 of 2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1; EfficientNet-Lite0
Time:     14 minutes for 2 seeds on one core shared with other work; frozen trains for 0.1 minutes, partial 1.3, full
          2.4, auto 2.9
"""

import sys
import time

import tlkit
from tlkit import recipes
from tlkit.features import has_accelerator

STRATEGIES = ("frozen", "partial", "full", "auto")


def measure(options, seed):
    size = 224 if has_accelerator() else 64
    parts = recipes.load_parts(options.data, size, seed=seed, per_class=10 if options.smoke else 60)
    figures = {}
    for strategy in STRATEGIES[:1] if options.smoke else STRATEGIES:
        model = tlkit.build_classifier("efficientnet_lite0", len(parts.class_names), image_size=size)
        began = time.monotonic()
        tlkit.fine_tune(
            model,
            parts.train,
            validation_data=parts.validation,
            strategy=strategy,
            recipe=tlkit.Recipe(precision="auto"),
            epochs=None if strategy == "frozen" else 5,
            seed=seed,
        )
        figures[f"{strategy}_minutes"] = (time.monotonic() - began) / 60
        figures[f"{strategy}_accuracy"] = 100 * tlkit.evaluate(model, parts.test)["accuracy"]
    return figures


sys.exit(recipes.main(measure, __doc__, data="builtin:digits", seeds=2))
