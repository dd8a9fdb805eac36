"""LeNet-5 and the fast network on Fashion-MNIST, all 60,000 pictures.

Purpose:  show what a modern small network gains over LeNet-5 in the same time on a processor.
Command:  python recipes/02_fashion_mnist.py
Data:     idx:/usr/share/datasets/fashion-mnist: 51,000 train, 9,000 choose the epoch, 10,000 test
Expected: not measured yet
Machine:  2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1
Time:     minutes
"""

import sys
import time

import keras

import tlkit
from tlkit import recipes
from tlkit.augment import AugmentedDataset
from tlkit.features import has_accelerator

SIZE = 28


def train(name, size, parts, epochs, rate, seed, layers=()):
    model = tlkit.build_classifier(f"scratch:{name}", len(parts.class_names), image_size=size)
    pictures = AugmentedDataset(parts.train, list(layers), seed=seed) if layers else parts.train
    began = time.monotonic()
    recipe = tlkit.Recipe(batch_size=128, precision="auto", label_smoothing=0.1)
    tlkit.fine_tune(
        model,
        pictures,
        validation_data=parts.validation,
        strategy="scratch",
        epochs=epochs,
        learning_rate=rate,
        recipe=recipe,
        seed=seed,
    )
    minutes = (time.monotonic() - began) / 60
    return {
        f"{name}_accuracy": 100 * tlkit.evaluate(model, parts.test)["accuracy"],
        f"{name}_minutes": minutes,
    }


def measure(options, seed):
    gpu = has_accelerator()
    few = 10 if options.smoke else None
    large, small = (recipes.load_parts(options.data, size, seed=seed, per_class=few) for size in (32, SIZE))
    fast, epochs = ("fastnet", 30) if gpu else ("fastnet_small", 8)
    flip = (keras.layers.RandomFlip("horizontal"), keras.layers.RandomTranslation(0.07, 0.07, fill_mode="constant"))
    if options.smoke:
        return train("lenet5", 32, large, 1, 2e-3, seed) | train(fast, SIZE, small, 1, 4e-3, seed, flip)
    return train("lenet5", 32, large, 12, 2e-3, seed) | train(fast, SIZE, small, epochs, 4e-3, seed, flip)


sys.exit(recipes.main(measure, __doc__, data="idx:/usr/share/datasets/fashion-mnist", seeds=2, gigabytes=4.0))
