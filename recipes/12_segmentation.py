"""A small U-Net and FCN-8s on cluttered scenes of real digits, against the same networks without skips: mean IoU.

Purpose:  show what skip connections give to segmentation: the outlines.
Command:  python recipes/12_segmentation.py
Data:     scenes of 32 x 32 made here of builtin:mnist5k at 14 pixels: two digits among strokes cut from others and
          noise; a pixel's class is its digit, or background as 95 % are. 2,000 scenes train, 400 test;
          Without skips are SmallUNetPlain and SmallFCN32s, for which such a scene is a single place;
          --data tfds:oxford_iiit_pet with a network: not run here
Expected: smallunet_mean_iou 54.11 ± 2.82, smallunetplain_mean_iou 17.27 ± 2.73, smallfcn8s_mean_iou 26.91 ± 1.27,
          smallfcn32s_mean_iou 9.68 ± 1.15 (3 seeds; naming every pixel background gives 8.7)
Machine:  1 of 2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1
Time:     22 minutes, one core beside other work
"""

import sys

import keras
import numpy as np

from tlkit import data, models, recipes

SIDE, DIGIT, STROKE, CLASSES, PHOTOGRAPH = 32, 14, 5, 11, 64
BACKGROUND = 0.2  # Its weight in the loss of scenes, or being right there is all that a network learns for long.
NETWORKS = ("SmallUNet", "SmallUNetPlain", "SmallFCN8s", "SmallFCN32s")


def scenes(images, count, random):
    """Returns scenes float32 (count, 32, 32, 1) of 0 to 1, and classes int64 (count, 32, 32), 0 the background."""
    pictures, labels = images
    x = random.uniform(0, 0.3, (count, SIDE, SIDE)).astype("float32")
    y = np.zeros((count, SIDE, SIDE), np.int64)
    for scene, classes in zip(x, y, strict=True):
        for stroke in range(10):  # Eight pieces of digits that are none, then two whole digits over them.
            chosen = random.integers(len(pictures))
            whole, side = stroke >= 8, DIGIT if stroke >= 8 else STROKE
            top, left = random.integers(0, SIDE - side + 1, 2)
            start = (0, 0) if whole else random.integers(0, DIGIT - side + 1, 2)
            piece = pictures[chosen, start[0] : start[0] + side, start[1] : start[1] + side, 0] / 255
            place = (slice(top, top + side), slice(left, left + side))
            scene[place] = np.maximum(scene[place], piece)
            if whole:
                classes[place][piece > 0.5] = labels[chosen] + 1
    return x[..., None], y


def examples(options, seed, count):
    """Returns what trains and what tests, how many classes a pixel can have, and the weight of class 0 in the loss."""
    random = np.random.default_rng(seed)
    if options.data.startswith("tfds:"):
        sets = data.masks_from_tfds(options.data.removeprefix("tfds:"), PHOTOGRAPH)
        train, test = ((x / np.float32(255), y) for x, y in (sets["train"], sets["test"]))
        return train, test, int(train[1].max()) + 1, 1.0
    parts = recipes.load_parts(options.data, DIGIT, seed=seed, grey=True, per_class=5 if options.smoke else None)
    train = scenes(parts.train, count, random)
    return train, scenes(parts.test, max(count // 5, 8), random), CLASSES, BACKGROUND


def measure(options, seed):
    count, epochs = (16, 1) if options.smoke else (2000, 10)
    (x, y), (x_test, y_test), classes, weight = examples(options, seed, count)
    figures = {}
    for name in NETWORKS[:1] if options.smoke else NETWORKS:
        model = getattr(models, name)(input_shape=x.shape[1:], classes=classes)
        steps = epochs * -(-len(x) // 16)
        rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", weighted_metrics=[])
        model.fit(x, y, epochs=epochs, batch_size=16, sample_weight=np.where(y == 0, weight, 1.0), verbose=0)
        iou = keras.metrics.MeanIoU(classes, sparse_y_pred=False)
        iou.update_state(y_test, model.predict(x_test, verbose=0))
        figures[f"{name.lower()}_mean_iou"] = 100 * float(iou.result())
    return figures


sys.exit(recipes.main(measure, __doc__, data="builtin:mnist5k", gigabytes=2.0))
