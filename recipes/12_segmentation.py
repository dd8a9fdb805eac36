"""U-Net and FCN-8s on cluttered scenes of real digits, against the same networks without skips: mean IoU.

Purpose:  show what skip connections give to segmentation: the outlines.
Command:  python recipes/12_segmentation.py
Data:     scenes of 64 x 64 made here of builtin:mnist5k: two digits among strokes cut from others and noise; a pixel's
          class is its digit or background. 400 scenes train, 80 test; --data tfds:oxford_iiit_pet with a network
Expected: not measured yet: one seed gave SmallUNet 12.49 and the other three 8.65 to 8.71, where 8.65 is that of naming
          every pixel background: its 375 steps are too few
Machine:  1 of 2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1
Time:     16 minutes a seed, one core shared with much other work
"""

import sys

import keras
import numpy as np

from tlkit import data, models, recipes

SIDE, DIGIT, CLASSES = 64, 28, 11
NETWORKS = ("SmallUNet", "SmallUNetPlain", "SmallFCN8s", "SmallFCN32s")


def scenes(images, count, random):
    """Returns scenes float32 (count, 64, 64, 1) of 0 to 1, and classes int64 (count, 64, 64), 0 the background."""
    pictures, labels = images
    x = random.uniform(0, 0.3, (count, SIDE, SIDE)).astype("float32")
    y = np.zeros((count, SIDE, SIDE), np.int64)
    for scene, classes in zip(x, y, strict=True):
        for stroke in range(10):  # Eight pieces of digits that are none, then two whole digits over them.
            chosen = random.integers(len(pictures))
            whole, side = stroke >= 8, DIGIT if stroke >= 8 else 8
            top, left = random.integers(0, SIDE - side + 1, 2)
            start = (0, 0) if whole else random.integers(0, DIGIT - side + 1, 2)
            piece = pictures[chosen, start[0] : start[0] + side, start[1] : start[1] + side, 0] / 255
            place = (slice(top, top + side), slice(left, left + side))
            scene[place] = np.maximum(scene[place], piece)
            if whole:
                classes[place][piece > 0.5] = labels[chosen] + 1
    return x[..., None], y


def examples(options, seed, count):
    """Returns what trains and what tests, and how many classes a pixel can have."""
    random = np.random.default_rng(seed)
    if options.data.startswith("tfds:"):
        sets = data.masks_from_tfds(options.data.removeprefix("tfds:"), SIDE)
        train, test = ((x / np.float32(255), y) for x, y in (sets["train"], sets["test"]))
        return train, test, int(train[1].max()) + 1
    parts = recipes.load_parts(options.data, DIGIT, seed=seed, grey=True, per_class=5 if options.smoke else None)
    return scenes(parts.train, count, random), scenes(parts.test, max(count // 5, 8), random), CLASSES


def measure(options, seed):
    count, epochs = (16, 1) if options.smoke else (400, 15)
    (x, y), (x_test, y_test), classes = examples(options, seed, count)
    figures = {}
    for name in NETWORKS[:1] if options.smoke else NETWORKS:
        model = getattr(models, name)(input_shape=x.shape[1:], classes=classes)
        steps = epochs * -(-len(x) // 16)
        rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
        model.fit(x, y, epochs=epochs, batch_size=16, verbose=0)
        iou = keras.metrics.MeanIoU(classes, sparse_y_pred=False)
        iou.update_state(y_test, model.predict(x_test, verbose=0))
        figures[f"{name.lower()}_mean_iou"] = 100 * float(iou.result())
    return figures


sys.exit(recipes.main(measure, __doc__, data="builtin:mnist5k", gigabytes=2.0))
