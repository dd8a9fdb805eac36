"""Few-shot: 1, 5, 10 and 50 images a class; probe, partial, full and from scratch on one plot.

Purpose:  show how much of a pretrained network to train when pictures are few, and how far it is ahead of none.
Command:  python recipes/15_few_shot.py --plot recipes/figures/15_few_shot.svg
Data:     idx:/usr/share/datasets/fashion-mnist: so many images a class train, 20 choose the epoch, 100 test.
          An epoch of all but the probe repeats them to 50 a class, so that it has as many steps however few they are
Expected: probe_1 52.77 ± 8.21, partial_1 54 ± 7.83, full_1 55.47 ± 5.49, scratch_1 39.3 ± 19.1, probe_5 65.6 ± 3.22,
          partial_5 66.37 ± 4.22, full_5 70.03 ± 1.47, scratch_5 60.03 ± 3.52, probe_10 71.23 ± 2.42, partial_10 71.33 ±
          2.2, full_10 74.2 ± 2.88, scratch_10 66.23 ± 5.78, probe_50 78.37 ± 2.44, partial_50 80.83 ± 0.643, full_50
          82.83 ± 1.29, scratch_50 76.07 ± 2.84 (3 seeds; the number is images a class)
Machine:  1 of 2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1; EfficientNet-Lite0, 64 px
Time:     58 minutes, one core beside other work
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
                recipe=tlkit.Recipe(precision="auto"),
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
        path,
        "Fashion-MNIST, EfficientNet-Lite0: mean over seeds",
        ("training images a class", "test accuracy, %"),
        shown,
        logarithmic=(True, False),
    )


sys.exit(recipes.main(measure, __doc__, data="idx:/usr/share/datasets/fashion-mnist", draw=draw))
