"""Whether keeping the outputs of a prefix is worth the space: they are read back at every epoch."""

from __future__ import annotations

import math

import keras

from tlkit.activations.rows import DTYPES
from tlkit.analysis.costs import step_cost
from tlkit.analysis.trace import trace

# A core multiplies and adds 10 to 30 thousand million times a second in a convolution, where a disk gives half to two
# thousand million bytes: a prefix of fewer multiply-adds a byte is computed as fast as it is read.
MULTIPLY_ADDS_A_BYTE = 20


def is_worth_keeping(prefix: keras.Model, storage: str) -> bool:
    """Tells whether reading the outputs of a prefix back is faster than computing them.

    It is not where a network of one long graph without cuts, such as NASNet, can only be cut right after its stem.
    """
    shape = prefix.output_shape[1:]
    if len(shape) == 1:  # Features of the head are small, and the convex fit reads them many times.
        return True
    products = [step_cost(step).multiply_adds for step in trace(prefix)]
    known = sum(product for product in products if product is not None)
    return None in products or known >= MULTIPLY_ADDS_A_BYTE * math.prod(shape) * DTYPES[storage].itemsize
