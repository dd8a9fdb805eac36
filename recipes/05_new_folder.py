"""From ImageNet to a new set: frozen, partial, full and auto, each with its accuracy and time.

Purpose:  show what each strategy gains over the frozen network, and what it costs in minutes.
Command:  python recipes/05_new_folder.py
Data:     builtin:digits at 64 pixels; --data ./images, tfds:oxford_flowers102, tfds:oxford_iiit_pet, tfds:caltech101
          or tfds:cifar10 with a network (mixed precision on a GPU by itself)
Expected: not measured yet: its smoke run alone was made
Machine:  none yet; EfficientNet-Lite0
Time:     not measured
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
