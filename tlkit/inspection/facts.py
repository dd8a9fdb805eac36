"""An inspection as plain numbers: what the JSON holds and the page is drawn from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from tlkit.analysis.layer_table import LayerFacts
from tlkit.analysis.measurements import NEIGHBOURS, Measurements
from tlkit.analysis.receptive_field import ReceptiveField
from tlkit.inspection.examining import Inspection


def gather(inspection: Inspection) -> dict[str, Any]:
    """Returns an inspection as a dict that JSON can hold: numbers, texts, None for what is not known."""
    table = inspection.table
    measured = inspection.measurements
    return {
        "name": inspection.name,
        "image_size": inspection.image_size,
        "input_shape": _shape(table.input_shape),
        "totals": asdict(table.totals),
        "stages": _stage_rows(table.layers),
        "layers": [_layer_row(layer) for layer in table.layers],
        "notes": list(inspection.notes),
        "data": {"source": inspection.data, "pictures": inspection.num_pictures} if measured else None,
        "measured": _measured(measured) if measured else None,
    }


def _shape(shape: tuple[int | None, ...] | None) -> list[int | None] | None:
    return None if shape is None else list(shape[1:])


def _layer_row(layer: LayerFacts) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "stage": layer.stage,
        "cut": layer.cut,
        "output_shape": _shape(layer.output_shape),
        **asdict(layer.cost),
        "field": _field(layer.field),
    }


def _field(field: ReceptiveField) -> dict[str, Any]:
    """Returns what a layer's units see: pixels through windows, and the layers that made it more or unknown."""
    return {
        "size": _listed(field.size),
        "stride": _listed(field.stride),
        "start": _listed(field.start),
        "centre": _listed(field.centre),
        "whole": field.whole,
        "unknown": field.unknown,
    }


def _listed(values: tuple | None) -> list | None:
    return None if values is None else list(values)


def _stage_rows(layers: tuple[LayerFacts, ...]) -> list[dict[str, Any]]:
    """Sums the steps of each stage; its size and field are those of its last map."""
    rows = []
    for name in dict.fromkeys(layer.stage for layer in layers):
        mine = [layer for layer in layers if layer.stage == name]
        # Padding made ready for the next stage is not what this one puts out.
        last = next((one for one in reversed(mine) if not one.kind.startswith("ZeroPadding")), mine[-1])
        row: dict[str, Any] = {"name": name, "last": last.name, "steps": len(mine)}
        row |= {"output_shape": _shape(last.output_shape), "field": _field(last.field)}
        for cost in ("parameters", "multiply_adds", "operations", "activation_bytes"):
            values = [getattr(layer.cost, cost) for layer in mine]
            row[cost] = sum(value for value in values if value is not None)
        row["cuts"] = sum(layer.cut for layer in mine)
        rows.append(row)
    return rows


def _measured(found: Measurements) -> dict[str, Any]:
    return {
        "pictures": len(found.images),
        "labels": [found.class_names[label] for label in found.labels],
        "layers": list(found.layers),
        "filters": {"layer": found.filters.layer, "count": len(found.filters.weights)} if found.filters else None,
        "effective_fields": _effective_fields(found),
        "strongest": _strongest(found),
        "neighbours": {
            "k": min(NEIGHBOURS, len(found.images) - 1),
            "agreement": {one.layer: one.agreement for one in found.neighbourhoods},
            "parted_pairs": [list(pair) for pair in found.pairs],
        },
        "symmetry": _symmetry(found),
        "gradients": _gradients(found),
    }


def _effective_fields(found: Measurements) -> list[dict[str, Any]]:
    return [
        {
            "layer": one.layer,
            "unit": list(one.unit),
            "box": [list(bounds) for bounds in box],
            "share_in_box": _plain(one.share_within(box)),
            "centre": [_plain(place) for place in one.centre],
            "radius": {f"{share:g}": radius for share, radius in one.radius.items()},
        }
        for one, box in zip(found.effective, found.boxes, strict=True)
    ]


def _strongest(found: Measurements) -> list[dict[str, Any]]:
    return [
        {
            "layer": one.layer,
            "channel": one.channel,
            "values": [_plain(value) for value in one.values],
            "pictures": one.indices.tolist(),
            "classes": [found.class_names[label] for label in found.labels[one.indices]],
            "boxes": [[list(bounds) for bounds in box] for box in one.boxes],
        }
        for one in found.strongest
    ]


def _symmetry(found: Measurements) -> list[dict[str, Any]]:
    return [
        {
            "layer": one.layer,
            "transformation": one.transformation.label,
            "kind": one.transformation.kind,
            "amount": one.transformation.amount,
            "invariance": one.invariance,
            "equivariance": one.equivariance,
            "agreement": one.agreement,
        }
        for one in found.symmetry
    ]


def _gradients(found: Measurements) -> dict[str, Any] | None:
    if found.flow is None or found.signal is None or found.verdict is None:
        return None
    kept = [row for row, kernel in zip(found.flow.rows(), found.flow.has_kernel, strict=True) if kernel]
    columns = ("layer", "gradient_norm", "gradient_rms", "weight_norm")
    return {
        "loss": _plain(found.flow.loss[0]),
        "layers": [{name: row[name] for name in columns} for row in kept],
        "signal": dict(zip(found.signal.layers, map(_plain, found.signal.norm), strict=True)),
        "verdict": asdict(found.verdict) | {"layers": list(found.verdict.layers)},
    }


def _plain(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
