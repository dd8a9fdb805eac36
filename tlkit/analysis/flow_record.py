"""What a run keeps of the flow of gradients: one record and one verdict a phase, in gradients.json."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tlkit import run
from tlkit.analysis.gradient_flow import FlowRecord
from tlkit.analysis.gradient_verdict import judge

DIGITS = 4  # Significant ones; a chart shows two.


def describe_flow(phase: str, record: FlowRecord) -> dict[str, Any]:
    """Returns what is told of one phase, ready for JSON.

    Args:
        phase: Its name.
        record: From the callback `GradientFlow`, with at least one step.

    Returns:
        `phase`, `verdict` (the kind, see `Verdict`), `message`, `layers` with kernels from the input to the output,
        `steps` done before each record, and `gradient_rms` and `update_ratio`, a list of layers for each of those,
        None where nothing could be measured.
    """
    verdict = judge(record)
    return {
        "phase": phase,
        "verdict": verdict.kind,
        "message": verdict.message,
        "layers": list(itertools.compress(record.layers, record.judged)),
        "steps": record.steps.tolist(),
        "gradient_rms": _rows(record.gradient_rms[:, record.judged]),
        "update_ratio": _rows(record.update_ratio[:, record.judged]),
    }


def write_flows(folder: Path, flows: Sequence[dict[str, Any]]) -> None:
    """Writes gradients.json into a run folder.

    Args:
        folder: The run folder.
        flows: From `describe_flow`, one a phase that was trained by gradients.
    """
    run.write_json(folder / run.GRADIENTS, {"phases": list(flows)})


def _rows(values: NDArray) -> list[list[float | None]]:
    return [[float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None for value in row] for row in values]
