"""Measures a saved model with every tool of tlkit.analysis and prints the figures; run under any backend.

Usage: python measure.py MODEL.keras DATA.npz
"""

from __future__ import annotations

import json
import sys
from typing import Any

import keras
import numpy as np

from tlkit.analysis.activations import activations, strongest_images
from tlkit.analysis.effective_field import effective_fields
from tlkit.analysis.filters import layer_filters
from tlkit.analysis.flow_callback import GradientFlow
from tlkit.analysis.gradient_flow import gradient_flow
from tlkit.analysis.gradient_verdict import judge
from tlkit.analysis.layer_table import layer_table
from tlkit.analysis.neighbours import neighbourhoods
from tlkit.analysis.signal_flow import signal_flow
from tlkit.analysis.symmetry import symmetry_errors
from tlkit.analysis.warp import Transformation


def measure(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Returns figures that must not depend on the backend; the model is trained for two steps at the end."""
    loss = keras.losses.sparse_categorical_crossentropy
    table = layer_table(model)
    (field,) = effective_fields(model, ["conv2"], images[:3])
    (strongest,) = strongest_images(model, images, "conv2", [1], top=4)
    flow = gradient_flow(model, images, labels, loss, training=False)
    symmetry = symmetry_errors(
        model, images, ["conv1", "head"], [Transformation("shift", 2), Transformation("rotation", 30)]
    )
    found = {
        "operations": table.totals.operations,
        "field": [row.field.size for row in table.layers],
        "mass": field.mass[::4, ::4].tolist(),
        "radius": list(field.radius.values()),
        "filters": layer_filters(model).weights[:2].tolist(),
        "activations": activations(model, images[:2], ["pool2"])["pool2"][:, 0, 0].tolist(),
        "strongest": [*strongest.indices.tolist(), *strongest.units.ravel().tolist()],
        "gradient_norm": flow.gradient_norm[0].tolist(),
        "verdict": judge(flow).kind,
        # Without the last layer: backends differ in the derivative of cross-entropy off the simplex.
        "signal": signal_flow(model, images, labels, loss, training=False).norm[:-1].tolist(),
        "symmetry": [[one.invariance, one.equivariance or 0] for one in symmetry],
        "agreement": [one.agreement for one in neighbourhoods(model, (images, labels), ["features"])],
    }
    return found | {"updates": _updates(model, images, labels)}


def _updates(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> list:
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy")
    callback = GradientFlow(images[:16], labels[:16], frequency=1)
    model.fit(images, labels, batch_size=len(images) // 2, epochs=1, shuffle=False, verbose=0, callbacks=[callback])
    return callback.record.update_norm.tolist()


if __name__ == "__main__":
    data = np.load(sys.argv[2])
    figures = measure(keras.saving.load_model(sys.argv[1], compile=False), data["images"], data["labels"])
    loaded = sorted({"tensorflow", "jax"} & set(sys.modules))
    print(json.dumps(figures | {"backend": keras.backend.backend(), "loaded": loaded}))
