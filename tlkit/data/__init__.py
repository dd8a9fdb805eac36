"""Images: where they come from, whether they can be trusted, how they are divided and fed. Names resolve when used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlkit.lazy import attach

if TYPE_CHECKING:
    from tlkit.data.archives import from_archive
    from tlkit.data.arrays import builtin, from_arrays
    from tlkit.data.auditing import Audit, audit, check
    from tlkit.data.examine import Facts
    from tlkit.data.findings import Finding
    from tlkit.data.folders import from_directory
    from tlkit.data.idx import from_idx
    from tlkit.data.items import Source
    from tlkit.data.loader import ImageDataset, as_numpy, as_tf_dataset, load
    from tlkit.data.manifest import Manifest
    from tlkit.data.masks import masks_from_tfds
    from tlkit.data.npz import from_npz
    from tlkit.data.scanning import scan
    from tlkit.data.sources import from_spec
    from tlkit.data.store import Store, open_store, plan_store
    from tlkit.data.tables import from_dataframe, from_table
    from tlkit.data.tfds import from_tfds
    from tlkit.data.transform import Transform, make_transform

_HOMES = {
    "archives": ("from_archive",),
    "arrays": ("builtin", "from_arrays"),
    "auditing": ("Audit", "audit", "check"),
    "examine": ("Facts",),
    "findings": ("Finding",),
    "folders": ("from_directory",),
    "idx": ("from_idx",),
    "loader": ("ImageDataset", "as_numpy", "as_tf_dataset", "load"),
    "items": ("Source",),
    "manifest": ("Manifest",),
    "masks": ("masks_from_tfds",),
    "npz": ("from_npz",),
    "scanning": ("scan",),
    "sources": ("from_spec",),
    "store": ("Store", "open_store", "plan_store"),
    "tables": ("from_dataframe", "from_table"),
    "tfds": ("from_tfds",),
    "transform": ("Transform", "make_transform"),
}

__all__ = [
    "Audit",
    "Facts",
    "Finding",
    "ImageDataset",
    "Manifest",
    "Source",
    "Store",
    "Transform",
    "as_numpy",
    "as_tf_dataset",
    "audit",
    "builtin",
    "check",
    "from_archive",
    "from_arrays",
    "from_dataframe",
    "from_directory",
    "from_idx",
    "from_npz",
    "from_spec",
    "from_table",
    "from_tfds",
    "load",
    "make_transform",
    "masks_from_tfds",
    "open_store",
    "plan_store",
    "scan",
]

__getattr__, __dir__ = attach(__name__, _HOMES)
