"""The same bits in every run: what the backends offer for it."""

from __future__ import annotations

import os

import keras

from tlkit.features import has_accelerator

XLA_FLAG = "--xla_gpu_deterministic_ops=true"


def enable_determinism() -> str:
    """Asks the backend for deterministic kernels, for the rest of the process.

    Returns:
        What it costs, in a sentence.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif backend == "jax" and has_accelerator():
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {XLA_FLAG}".strip()
    if not has_accelerator():
        return "Deterministic: on a processor at no cost that could be measured."
    return "Deterministic: without XLA, and with slower kernels where the fast ones add in any order."
