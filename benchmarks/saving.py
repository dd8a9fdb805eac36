"""What saving the state of a training costs: seconds as a share of the training, and room on the disk.

Runs `tlkit finetune` as it is by default (strategy auto, a state after every epoch), reads what the run recorded, and
ends with code 1 where saving took more than 2 % of the training. Options given are passed on.

    python benchmarks/saving.py                     # scikit-learn's digits, efficientnet_lite0 at 224 px: 12 minutes
    python benchmarks/saving.py --image-size 96 --time-budget 2m
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tlkit.cli import main

MOST = 0.02  # Of the training time.


def measure(arguments: list[str]) -> dict[str, float]:
    """Runs a training and returns its seconds, those of saving, states saved, and the most bytes they took."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        code = main(["finetune", "--data", "builtin:digits", "--output", str(run), *arguments])
        if code:
            sys.exit(code)
        found = json.loads((run / "environment.json").read_text())
        left = (run / "checkpoint").exists()
    training = sum(seconds for step, seconds in found["seconds"].items() if step.startswith("Training "))
    return found["saving"] | {"training_seconds": training, "left_behind": left}


figures = measure(sys.argv[1:])
share = figures["seconds"] / max(figures["training_seconds"], 1e-9)
print(
    f"\n{figures['states']} states in {figures['seconds']:.2f} s of {figures['training_seconds']:.0f} s of training: "
    f"{share:.2%}; at most {figures['peak_bytes'] / 1e6:.0f} MB on disk, none after the run."
)
sys.exit(int(share > MOST or figures["left_behind"]))
