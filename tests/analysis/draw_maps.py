"""Draws heat maps of a saved model and keeps them; run under any backend.

Usage: python draw_maps.py MODEL.keras IMAGES.npy MAPS.npz
"""

from __future__ import annotations

import sys

import keras
import numpy as np

from tlkit.analysis.gradcam import grad_cam
from tlkit.analysis.heat_maps import HeatMaps
from tlkit.analysis.occlusion import occlusion


def draw_maps(model: keras.Model, images: np.ndarray) -> dict[str, HeatMaps]:
    """Returns what must not depend on the backend."""
    return {"grad_cam": grad_cam(model, images, batch_size=4), "occlusion": occlusion(model, images[:2])}


if __name__ == "__main__":
    drawn = draw_maps(keras.saving.load_model(sys.argv[1], compile=False), np.load(sys.argv[2]))
    assert keras.backend.backend() == "tensorflow" or "tensorflow" not in sys.modules
    np.savez(sys.argv[3], backend=keras.backend.backend(), **{name: maps.maps for name, maps in drawn.items()})
