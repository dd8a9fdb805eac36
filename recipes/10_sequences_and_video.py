"""One and three dimensions: MNIST-1D with a 1-D convolution, and the direction of moving digits with a 3-D one.

Purpose:  show that convolution is not about pictures: along time alone, and along time, height and width.
Command:  python recipes/10_sequences_and_video.py
Data:     MNIST-1D made by its published procedure (S. Greydanus, D. Kobak, 2020, arXiv 2011.14439); digits of
          builtin:mnist5k that move in one of four directions over 6 frames, of which one alone tells little
Expected: mnist1d_dense 61.8 ± 3.34, mnist1d_convolution 79.9 ± 0.529, one_frame 34.27 ± 2.25, six_frames 99.63 ± 0.306
Machine:  1 of 2 cores of an AMD EPYC, TensorFlow 2.21, Keras 3.15.1
Time:     2 minutes for 3 seeds, one core beside other work
"""

import sys

import keras
import numpy as np
from keras import layers
from scipy.ndimage import gaussian_filter

from tlkit import recipes

SHAPES = """5 6 6.5 6.75 7 7 7 7 6.75 6.5 6 5;5 3 3 3.4 3.8 4.2 4.6 5 5.4 5.8 5 5;5 6 6.5 6.5 6 5.25 4.75 4 3.5 3.5 4 5
;5 6 6.5 6.5 6 5 5 6 6.5 6.5 6 5; 5 4.4 3.8 3.2 2.6 2.6 5 5 5 5 5 5; 5 3 3 3 3 5 6 6.5 6.5 6 4.5 5; 5 4 3.5 3.25 3 3 3
3 3.25 3.5 4 5; 5 7 7 6.6 6.2 5.8 5.4 5 4.6 4.2 5 5; 5 4 3.5 3.5 4 5 5 4 3.5 3.5 4 5; 5 4 3.5 3.5 4 5 5 5 5 4.7 4.3 5"""
TEMPLATES = np.array([row.split() for row in SHAPES.split(";")], float)
SIDE, MOVES = 32, np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])  # Pixels a frame.


def stretched(x, length):
    return np.interp(np.linspace(0, 1, length), np.linspace(0, 1, len(x)), x)


def sequence(template, random):
    """The paper's steps: pad, resize, scale, translate, noise where nothing is, shear, subsample."""
    x = stretched(np.concatenate([template + 1e-8, np.zeros(36 + random.integers(25))]), 72)
    x = np.roll(x * (1 + 0.4 * (random.random() - 0.5)), random.integers(48))
    x = np.where(x != 0, x, gaussian_filter(0.25 * random.standard_normal(72), 2))
    x = x + 0.02 * random.standard_normal(72) - 0.75 * (random.random() - 0.5) * np.linspace(-0.5, 0.5, 72)
    return stretched(x, 40)


def sequences(count, random):
    templates, labels = (TEMPLATES - TEMPLATES[:, :1]) / TEMPLATES.std(1, keepdims=True) / 6, np.arange(count) % 10
    return np.stack([sequence(templates[label], random) for label in labels])[..., None], labels


def videos(pictures, count, random):
    x, labels = np.zeros((count, 6, SIDE, SIDE, 1), "float32"), np.arange(count) % len(MOVES)
    for video, label in zip(x, labels, strict=True):
        start, digit = random.integers(3, SIDE - 22, 2), pictures[random.integers(len(pictures)), 4:24, 4:24] / 255
        for frame, (row, column) in enumerate(start + np.arange(-2, 4)[:, None] * MOVES[label]):
            video[frame, row : row + 20, column : column + 20] = digit
    return x, labels


def accuracy(body, train, test, epochs):
    top = layers.Dense(int(train[1].max()) + 1, "softmax")
    model = keras.Sequential([keras.Input(train[0].shape[1:]), *body, top])
    model.compile(keras.optimizers.Adam(2e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(*train, epochs=max(epochs, 1), batch_size=64, verbose=0)
    return 100 * model.evaluate(*test, verbose=0)[1]


def measure(options, seed):
    random, count, few = np.random.default_rng(seed), *((200, 20) if options.smoke else (4000, None))
    train, test = sequences(count, random), sequences(count // 4, random)
    dense = [layers.Flatten(), *(layers.Dense(100, "relu") for _ in range(2))]
    along = [layers.Conv1D(25, size, 2, "same", activation="relu") for size in (5, 3, 3)]
    parts = recipes.load_parts(options.data, 28, seed=seed, grey=True, per_class=few)
    moving = [videos(part[0], count // 4, random) for part in (parts.train, parts.test)]
    flat = [layers.Conv2D(8, 3, 2, "same", activation="relu") for _ in range(3)]
    deep = [layers.Conv3D(8, 3, (1, 2, 2), "same", activation="relu") for _ in range(3)]
    return {
        "mnist1d_dense": accuracy(dense, train, test, count // 80),
        "mnist1d_convolution": accuracy([*along, layers.Flatten()], train, test, count // 80),
        "one_frame": accuracy([*flat, layers.Flatten()], *[(x[:, 3], y) for x, y in moving], count // 250),
        "six_frames": accuracy([*deep, layers.GlobalMaxPooling3D()], *moving, count // 250),
    }


sys.exit(recipes.main(measure, __doc__, data="builtin:mnist5k"))
