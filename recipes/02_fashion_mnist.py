"""LeNet-5 and the fast network on Fashion-MNIST, all 60,000 pictures.

Purpose:  show what a modern small network, its recipe and ten minutes of a processor gain over LeNet-5.
Command:  python recipes/02_fashion_mnist.py
Data:     idx:/usr/share/datasets/fashion-mnist: 51,000 train, 9,000 choose the epoch, 10,000 test
Expected: lenet5_accuracy 88.33 ± 0.44, fastnet_small_accuracy 93.71 ± 0.23 (2 seeds; on a GPU fastnet trains for 30
          epochs instead, meant to reach 95 %: not run here)
Machine:  2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1
Time:     20 minutes for 2 seeds; of each fastnet_small trains for 8 to 10 minutes, LeNet-5 for 0.8
"""

import sys
import time

import tlkit
from tlkit import recipes
from tlkit.augment import AugmentedDataset, RandomView

SIZE = 28


def train(name, size, parts, pictures, epochs, rate, seed):
    model = tlkit.build_classifier(f"scratch:{name}", len(parts.class_names), image_size=size)
    began = time.monotonic()
    tlkit.fine_tune(
        model,
        pictures,
        validation_data=parts.validation,
        strategy="scratch",
        epochs=epochs,
        learning_rate=rate,
        recipe=tlkit.Recipe(batch_size=128, precision="auto", label_smoothing=0.1),
        seed=seed,
    )
    minutes = (time.monotonic() - began) / 60
    return {f"{name}_accuracy": 100 * tlkit.evaluate(model, parts.test)["accuracy"], f"{name}_minutes": minutes}


def varied(images, seed):
    """Square pieces of three quarters of each picture and more, half of them mirrored."""
    return AugmentedDataset(images, [RandomView(scale=(0.75, 1.0), ratio=(1.0, 1.0), flip=True)], seed=seed)


def measure(options, seed):
    few = 10 if options.smoke else None
    large, small = (recipes.load_parts(options.data, size, seed=seed, per_class=few) for size in (32, SIZE))
    fast, epochs = ("fastnet", 30) if options.accelerator else ("fastnet_small", 8)
    lenet = train("lenet5", 32, large, large.train, 1 if options.smoke else 10, 2e-3, seed)
    return lenet | train(fast, SIZE, small, varied(small.train, seed), 1 if options.smoke else epochs, 4e-3, seed)


sys.exit(recipes.main(measure, __doc__, data="idx:/usr/share/datasets/fashion-mnist", seeds=2, gigabytes=4.0))
