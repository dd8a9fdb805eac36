"""Content addresses of activations: everything that decides the rows is in them, and nothing else."""

from __future__ import annotations

import hashlib
import json

import keras

from tlkit.data.loader import ImageDataset

FORMAT = 2  # Of the files; a change makes older entries unknown.
VIEW = "centre"  # Of each image. Augmented views will be others, with addresses of their own.


def images_digest(dataset: ImageDataset) -> str:
    """Names the images in their order, and what makes pixels of them."""
    digest = hashlib.blake2b(json.dumps(dataset.store.transform.to_dict(), sort_keys=True).encode(), digest_size=16)
    digests = dataset.store.facts["digest"].to_numpy()[dataset.indices]
    digest.update("\n".join(digests).encode())
    return digest.hexdigest()


def address(network: str, images: str, engine: str, storage: str) -> str:
    """Returns the key of what a network makes of some images.

    Args:
        network: From `fingerprints.graph_digests`.
        images: From `images_digest`.
        engine: What computes it, precision included.
        storage: How the rows are kept.
    """
    facts = (FORMAT, keras.backend.backend(), keras.version(), network, images, VIEW, engine, storage)
    return hashlib.blake2b(json.dumps(facts).encode(), digest_size=16).hexdigest()
