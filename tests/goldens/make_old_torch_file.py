"""Makes old_torch_file.pth with torch 2.13.0 (`pip install torch==2.13.0`); run by hand, never by the tests."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch

numbers = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4) / 8
state = OrderedDict(
    float32=numbers,
    turned=numbers.permute(2, 0, 1)[1:, :, ::2],
    float64=torch.tensor([0.1], dtype=torch.float64),
    float16=torch.tensor([0.5, -2], dtype=torch.float16),
    int64=torch.tensor(2**40),
    int32=torch.tensor([-(2**31)], dtype=torch.int32),
    int16=torch.tensor([-(2**15)], dtype=torch.int16),
    int8=torch.tensor([-128], dtype=torch.int8),
    uint8=torch.tensor([255], dtype=torch.uint8),
)
path = Path(__file__).with_name("old_torch_file.pth")
torch.save(state, path, _use_new_zipfile_serialization=False)
