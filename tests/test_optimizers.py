from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from tlkit.errors import InputError
from tlkit.optimizers import OPTIMIZERS, make_optimizer, warmup_cosine


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_the_share_scales_the_update_itself(name: str) -> None:
    """Adam-like optimizers ignore the scale of gradients: only scaling what is added to a variable slows it down."""
    optimizer = make_optimizer(name, 0.1, factors={"slow": 0.25})
    fast, slow = (keras.Variable(np.ones(3, "float32"), name=name) for name in ("fast", "slow"))
    for _ in range(3):
        optimizer.apply([np.full(3, 0.2, "float32")] * 2, [fast, slow])
    moved = 1 - fast.numpy(), 1 - slow.numpy()
    assert (moved[0] > 0).all()
    np.testing.assert_allclose(moved[1], 0.25 * moved[0], rtol=1e-5)


def test_decay_spares_what_is_named_and_follows_the_share() -> None:
    kernel, slow, bias = (keras.Variable(np.full(2, 4.0, "float32"), name=name) for name in ("kernel", "slow", "bias"))
    optimizer = make_optimizer("sgd", 0.1, factors={"slow": 0.5}, weight_decay=0.1, not_decayed=[bias])
    optimizer.apply([np.zeros(2, "float32")] * 3, [kernel, slow, bias])
    np.testing.assert_allclose(kernel.numpy(), 4 * (1 - 0.1 * 0.1))
    np.testing.assert_allclose(slow.numpy(), 4 * (1 - 0.1 * 0.1 * 0.5))
    np.testing.assert_array_equal(bias.numpy(), 4.0)


def test_rate_rises_then_falls_to_zero() -> None:
    schedule = warmup_cosine(0.5, steps=100, warmup=0.1)
    rates = [float(keras.ops.convert_to_numpy(schedule(step))) for step in range(101)]
    assert rates[0] == 0
    assert max(rates) == rates[10] == pytest.approx(0.5)
    assert all(later <= earlier + 1e-7 for earlier, later in itertools.pairwise(rates[10:]))
    assert rates[100] == pytest.approx(0, abs=1e-6)


def test_unknown_optimizer_is_told() -> None:
    with pytest.raises(InputError, match="Did you mean 'adamw'"):
        make_optimizer("adamww", 0.1)
