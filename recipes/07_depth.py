"""Plain against residual depth: degradation, seen in the training error.

Purpose:  show that a deeper plain network has the higher training error, and what identity shortcuts mend of it.
Command:  python recipes/07_depth.py
Data:     idx:/usr/share/datasets/fashion-mnist at 16 pixels: 150 images a class train, 15 epochs
Expected: plain20_training_error 27.02 ± 24.29, plain56_training_error 54.29 ± 5.93, resnet20_training_error 4.42 ±
          5.94, resnet56_training_error 9.64 ± 1.78 (3 seeds; in % of the training images)
Machine:  1 of 2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1
Time:     22 minutes, one core beside other work
"""

import sys

import tlkit
from tlkit import recipes

SIZE = 16
RECIPE = tlkit.Recipe(precision="auto")


def training_error(name, parts, epochs, seed):
    """Trains all epochs with one rate schedule for every network, and returns the error of the last epoch in %."""
    model = tlkit.build_classifier(f"scratch:{name}", len(parts.class_names), image_size=SIZE)
    phase = tlkit.Phase("scratch", "input", epochs, 2e-3, batch_norm="trained", weight_decay=0.05)
    history = tlkit.fine_tune(
        model, parts.train, validation_data=parts.validation, strategy=[phase], recipe=RECIPE, seed=seed
    )
    return 100 * (1 - history.history["accuracy"][-1])


def measure(options, seed):
    few, epochs = (4, 1) if options.smoke else (150, 15)
    parts = recipes.load_parts(options.data, SIZE, seed=seed, per_class=few)
    names = ("plain20", "resnet20") if options.smoke else ("plain20", "plain56", "resnet20", "resnet56")
    return {f"{name}_training_error": training_error(name, parts, epochs, seed) for name in names}


sys.exit(recipes.main(measure, __doc__, data="idx:/usr/share/datasets/fashion-mnist"))
