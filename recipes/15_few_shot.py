"""Few-shot: 1, 5, 10 and 50 images a class; probe, partial, full and from scratch on one plot.

Purpose:  show how much of a pretrained network to train when pictures are few, and how far it is ahead of none.
Command:  python recipes/15_few_shot.py --plot recipes/figures/15_few_shot.svg
Data:     idx:/usr/share/datasets/fashion-mnist: so many images a class train, 20 choose the epoch, 100 test;
          but for the probe an epoch repeats them to 50 a class, so that it has as many steps however few they are
Expected: not measured yet
Machine:  1 of 2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1; EfficientNet-Lite0, 64 px
Time:     not measured yet
"""

import sys

import tlkit
from tlkit import recipes

STRATEGIES = {"probe": "frozen", "partial": "partial", "full": "full", "scratch": "scratch"}
COUNTS, SMOKE_COUNTS = (1, 5, 10, 50), (1, 5)
EPOCHS = {"probe": None, "partial": 10, "full": 10, "scratch": 30}
SIZE = 64


def measure(options, seed):
    counts = SMOKE_COUNTS if options.smoke else COUNTS
    strategies = ("probe",) if options.smoke else STRATEGIES
    parts = recipes.load_parts(options.data, SIZE, seed=seed, per_class=10 if options.smoke else 100)
    validation = recipes.few(parts.validation, 20, seed)
    figures = {}
    for count in counts:
        train = recipes.few(parts.train, count, seed)
        for name in strategies:
            weights = "none" if name == "scratch" else "imagenet"
            model = tlkit.build_classifier(
                "efficientnet_lite0", len(parts.class_names), image_size=SIZE, weights=weights
            )
            tlkit.fine_tune(
                model,
                train if name == "probe" else recipes.repeated(train, counts[-1] // count),
                validation_data=validation,
                strategy=STRATEGIES[name],
                epochs=EPOCHS[name],
                seed=seed,
            )
            figures[f"{name}_{count}"] = 100 * tlkit.evaluate(model, parts.test)["accuracy"]
    return figures


def draw(means, path):
    lines = {
        name: [(count, means[f"{name}_{count}"]) for count in COUNTS if f"{name}_{count}" in means]
        for name in STRATEGIES
    }
    shown = {name: points for name, points in lines.items() if points}
    recipes.write_chart(
        path, "Test accuracy, %", ("training images a class", "accuracy, %"), shown, logarithmic=(True, False)
    )


sys.exit(recipes.main(measure, __doc__, data="idx:/usr/share/datasets/fashion-mnist", draw=draw))
