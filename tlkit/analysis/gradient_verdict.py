"""Whether gradients vanish or explode: a verdict, with its thresholds told."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlkit.analysis.gradient_flow import FlowRecord
from tlkit.analysis.signal_flow import SignalFlow
from tlkit.errors import InputError


@dataclass(frozen=True)
class Thresholds:
    """When gradients are said to vanish or explode.

    Attributes:
        vanishing: The layers next to the input learn this much slower than the last one: the largest gradient (root
            mean square over weights) among the first quarter of layers over that of the last layer.
        exploding: The signal (see `signal_flow`) grows this much from the last layer to the median of the first
            quarter. Untrained networks with BatchNormalization reach a few hundred between layers, and train well.
        update: A step that changes a layer by more than this share of its weights.
    """

    vanishing: float = 1e-2
    exploding: float = 1e3
    update: float = 0.1


@dataclass(frozen=True)
class Verdict:
    """What is to be said of a record.

    Attributes:
        kind: `"healthy"`, `"vanishing"`, `"exploding"`, `"blocked"` (no gradient arrives at all) or `"not finite"`.
        step: The record that it was seen in, in training steps.
        layers: The layers it is about.
        ratio: Gradient next to the input over that next to the output; None where it has no meaning.
        message: One or two sentences, with the threshold.
    """

    kind: str
    step: int
    layers: tuple[str, ...]
    ratio: float | None
    message: str


@dataclass(frozen=True)
class _Moment:
    """The layers with kernels at one record."""

    step: int
    names: tuple[str, ...]
    rms: NDArray[np.float64]
    update: NDArray[np.float64]


def judge(
    record: FlowRecord,
    signal: SignalFlow | None = None,
    thresholds: Thresholds = Thresholds(),
) -> Verdict:
    """Says whether gradients vanish or explode on their way from the output to the input.

    The gravest of all records is told, the last of equals: not finite, then exploding, blocked, vanishing.

    Args:
        record: From `gradient_flow`, or from the callback `GradientFlow`.
        signal: From `signal_flow`; without it only steps that are too large are called exploding.
        thresholds: What counts as vanishing and exploding.
    """
    verdicts = [_judge_moment(_moment(record, at), thresholds) for at in range(len(record.steps))]
    if not verdicts:
        raise InputError("Expected a record with at least one step. Received: none; nothing was measured.")
    if signal is not None and (grown := _judge_signal(signal, verdicts[-1].step, thresholds)):
        verdicts.append(grown)
    gravity = ("healthy", "vanishing", "blocked", "exploding", "not finite")
    return max(reversed(verdicts), key=lambda verdict: gravity.index(verdict.kind))


def _moment(record: FlowRecord, at: int) -> _Moment:
    chosen = record.judged
    return _Moment(
        int(record.steps[at]),
        _chosen(record.layers, chosen),
        record.gradient_rms[at, chosen],
        record.update_ratio[at, chosen],
    )


def _first_quarter(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[: max(len(values) // 4, 1)]


def _chosen(names: tuple[str, ...], chosen: NDArray[np.bool_]) -> tuple[str, ...]:
    return tuple(name for name, one in zip(names, chosen, strict=True) if one)


def _judge_signal(signal: SignalFlow, step: int, limits: Thresholds) -> Verdict | None:
    growth = float(np.median(_first_quarter(signal.norm)) / max(signal.norm[-1], np.finfo(float).tiny))
    if not np.isfinite(signal.norm).all() or growth <= limits.exploding:
        return None  # What is not finite shows in the gradients of the weights too.
    message = (
        f"Gradients explode: the signal next to the input is {growth:,.0f} times that at the last layer (limit "
        f"{limits.exploding:,.0f}). Smaller initial weights or normalisation mend it; clipping the norm tames it."
    )
    return Verdict(
        "exploding", step, _chosen(signal.layers, signal.norm > limits.exploding * signal.norm[-1]), growth, message
    )


def _judge_moment(now: _Moment, limits: Thresholds) -> Verdict:
    def verdict(kind: str, chosen: NDArray[np.bool_], ratio: float | None, message: str) -> Verdict:
        return Verdict(kind, now.step, _chosen(now.names, chosen), ratio, message)

    bad, early = ~np.isfinite(now.rms), _first_quarter(now.rms)
    if bad.any():
        return verdict("not finite", bad, None, "Gradients are not finite: the loss has overflowed.")
    wild = now.update > limits.update
    if wild.any():
        return verdict("exploding", wild, None, _wild_steps(float(np.nanmax(now.update)), limits))
    if now.rms[-1] == 0 or early.max() == 0:
        message = "No gradient arrives: zero weights or dead units lie between these layers and the loss."
        return verdict("blocked", now.rms == 0, None, message)
    ratio = float(early.max() / now.rms[-1])
    if ratio < limits.vanishing:
        return verdict("vanishing", now.rms < limits.vanishing * now.rms[-1], ratio, _vanishing(ratio, limits))
    message = (
        f"Gradients flow: next to the input weights are pulled {ratio:.3g} times as hard as in the last layer "
        f"(below {limits.vanishing:g} they would be said to vanish)."
    )
    return verdict("healthy", np.zeros(len(now.names), bool), ratio, message)


def _vanishing(ratio: float, limits: Thresholds) -> str:
    return (
        f"Gradients vanish: next to the input they are {1 / ratio:,.0f} times smaller than at the last layer "
        f"(limit {1 / limits.vanishing:,.0f}). ReLU, He initialisation, normalisation or skip connections mend it."
    )


def _wild_steps(largest: float, limits: Thresholds) -> str:
    return (
        f"Steps explode: one changes a layer by {100 * largest:,.0f} % of its weights (limit "
        f"{100 * limits.update:.0f} %). Lower the learning rate, or clip the norm, which keeps the direction."
    )
