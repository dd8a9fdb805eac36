"""Findings about classes: too few images for a figure to mean much, or far fewer than another class has."""

from __future__ import annotations

from tlkit.data.findings import Finding, name_some
from tlkit.data.manifest import MIN_IMAGES_PER_CLASS, Manifest

SMALL_CLASS = 20
"""Images; with 15 % of fewer, the accuracy on a class rests on three test images or less."""
IMBALANCE = 5.0
"""Largest over smallest class; above, overall accuracy hides how the small ones fare."""


def class_findings(manifest: Manifest) -> list[Finding]:
    """Tells of classes that cannot be used, are small, or are outnumbered; counts usable images."""
    counts = manifest.counts().sum(axis=1).astype(int)
    findings = []
    unusable = counts[counts < MIN_IMAGES_PER_CLASS]
    if len(unusable):
        told = ", ".join(f"{name!r} {number}" for name, number in unusable.items())
        message = f"Classes with fewer than {MIN_IMAGES_PER_CLASS} usable images cannot be trained and tested: {told}."
        findings.append(Finding("class too small", "error", message, tuple(unusable.index)))
    small = counts[(counts >= MIN_IMAGES_PER_CLASS) & (counts < SMALL_CLASS)]
    if len(small):
        message = f"Classes with fewer than {SMALL_CLASS} images: {name_some(small.index)}; expect rough figures."
        findings.append(Finding("small class", "warning", message, tuple(small.index), small.to_dict()))
    if len(counts) and counts.max() > IMBALANCE * max(counts.min(), 1):
        message = (
            f"Class {counts.idxmax()!r} has {counts.max():,} images, {counts.idxmin()!r} has {counts.min():,}: "
            "read the balanced accuracy and the figures by class."
        )
        findings.append(Finding("imbalance", "warning", message, (), counts.to_dict()))
    if manifest.num_classes == 1:
        message = f"Only one class, {manifest.class_names[0]!r}: there is nothing to tell apart."
        findings.append(Finding("one class", "error", message, manifest.class_names))
    return findings
