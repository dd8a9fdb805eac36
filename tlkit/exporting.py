"""The verb `export`: exports a run's model, and prints the table that shows how far each export agrees with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tlkit import console
from tlkit.backend import start_keras

if TYPE_CHECKING:
    from tlkit.export import Exports, Parity

COLUMNS = ("Export", "MB", "Same top-1", "Max diff.", "Mean diff.", "Accuracy", "ms (1)", "ms (32)")


def export(
    run: str | Path, formats: str, *, precision: str, input_kind: str, temperature: bool, max_drop: float
) -> bool:
    """Exports a run's model and tells the result.

    Args:
        run: Run folder.
        formats: Names of formats, separated by commas.
        precision: See `tlkit.export_run`.
        input_kind: See `tlkit.export_run`.
        temperature: See `tlkit.export_run`.
        max_drop: Accuracy that an export may lose.

    Returns:
        Whether an export lost more than that.

    Raises:
        InputError: See `tlkit.export_run`.
        ParityError: Likewise.
    """
    with console.step("Starting Keras"):
        start_keras()
        from tlkit.export import export_run
    made = export_run(
        run,
        [name.strip() for name in formats.split(",") if name.strip()],
        precision=precision,
        input_kind=input_kind,
        temperature=temperature,
        max_drop=max_drop,
        step=console.step,
    )
    _tell(made)
    return bool(made.dropped)


def _tell(exports: Exports) -> None:
    for note in exports.notes:
        console.warn(note)
    title = f"\nCompared on {exports.images:,} pictures of the run"
    rows = [_row(one) for one in (exports.original, *exports.made)]
    console.table(title, COLUMNS, rows, right=COLUMNS[1:])
    for one in exports.made:
        if one.store_agreement is not None:
            console.say(f"{one.name}: {one.store_agreement:.2%} the class that the run's own resizing gives.")
        changed = round((1 - one.agreement.top1_agreement) * exports.images)
        if changed:
            console.say(
                f"{one.name}: {changed:,} of {exports.images:,} answers changed; accuracy "
                f"{-100 * one.agreement.accuracy_drop:+.1f} points."
            )
    for one in exports.dropped:
        console.warn(
            f"{one.name} loses {one.agreement.accuracy_drop:.2%} accuracy, more than the {exports.max_drop:.2%} that "
            "--max-drop allows."
        )
    console.say(f"\nExports: {exports.folder}")


def _row(one: Parity) -> list[str]:
    found = one.agreement
    return [
        one.name,
        f"{one.bytes / 1e6:.1f}",
        f"{found.top1_agreement:.2%}",
        f"{found.max_difference:.1e}",
        f"{found.mean_difference:.1e}",
        f"{found.accuracy:.2%}",
        *(f"{milliseconds:.1f}" for milliseconds in one.milliseconds.values()),
    ]
