"""Asked for the same bits, two processes give them; and what that costs is told."""

from __future__ import annotations

import subprocess
import sys

import pytest

TRAINING = """
import hashlib, keras, numpy as np
from tlkit.phases import Phase
from tlkit.training import Recipe, fine_tune

keras.utils.set_random_seed(0)
inputs = keras.Input((16, 16, 3))
x = keras.layers.Dropout(0.3)(keras.layers.Conv2D(8, 3, strides=2, activation="relu")(inputs))
model = keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(x)))
generator = np.random.default_rng(0)
images, labels = generator.integers(0, 255, (64, 16, 16, 3)).astype("uint8"), generator.integers(0, 4, 64)
history = fine_tune(
    model,
    (images, labels),
    validation_data=(images, labels),
    strategy=[Phase("all", "input", epochs=2, learning_rate=0.01)],
    recipe=Recipe(deterministic=True),
)
print(history.outcomes[0].notes[0])
print(hashlib.sha256(b"".join(np.asarray(weight).tobytes() for weight in model.get_weights())).hexdigest())
"""


@pytest.mark.slow
def test_two_runs_give_the_same_bits() -> None:
    told = [
        subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert told[0] == told[1]
    assert told[0].startswith("Deterministic: ")
