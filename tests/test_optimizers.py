from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest

from tlkit.errors import InputError
from tlkit.optimizers import OPTIMIZERS, Accumulation, averages, make_optimizer, replan, warmup_cosine


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


def applied(optimizer: keras.optimizers.Optimizer, gradients: list[np.ndarray]) -> keras.Variable:
    variable = keras.Variable(np.ones(3, "float32"), name="w")
    for gradient in gradients:
        optimizer.apply([gradient], [variable])
    return variable


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_accumulated_batches_are_one_update_and_the_last_group_counts(name: str) -> None:
    """Seven batches an epoch, the last one half as large, four to an update: two updates an epoch."""
    gradients = list(np.random.default_rng(0).normal(size=(14, 3)).astype("float32"))
    options = {"weight_decay": 0.1, "clip_norm": 0.5, "ema": 0.9}
    gathering = make_optimizer(name, warmup_cosine(0.1, 4, 0.3), accumulation=Accumulation(4, 7, 0.5), **options)
    gathered = applied(gathering, gradients)
    means = [
        mean
        for epoch in (gradients[:7], gradients[7:])
        for mean in (sum(epoch[:4]) / 4, (epoch[4] + epoch[5] + 0.5 * epoch[6]) / 2.5)
    ]
    plain = make_optimizer(name, warmup_cosine(0.1, 4, 0.3), **options)
    expected = applied(plain, means)
    np.testing.assert_allclose(gathered.numpy(), expected.numpy(), rtol=1e-5)
    np.testing.assert_allclose(averages(gathering)[0][1].numpy(), averages(plain)[0][1].numpy(), rtol=1e-5)
    assert int(gathering.iterations) == int(plain.iterations) == 4
    assert float(gathering.learning_rate) == float(plain.learning_rate)


def test_nothing_moves_between_updates() -> None:
    optimizer = make_optimizer("adam", 0.1, ema=0.9, accumulation=Accumulation(3, 9))
    variable = applied(optimizer, [np.ones(3, "float32")] * 2)
    np.testing.assert_array_equal(variable.numpy(), 1.0)
    assert int(optimizer.iterations) == 0
    optimizer.apply([np.ones(3, "float32")], [variable])
    assert (variable.numpy() < 1).all()
    assert int(optimizer.iterations) == 1


def test_a_schedule_can_be_given_another_length() -> None:
    optimizer = make_optimizer("adam", warmup_cosine(1.0, steps=100, warmup=0.1))
    optimizer.build([keras.Variable(np.ones(3, "float32"))])
    replan(optimizer, updates=20, warmup=0.1)
    rates = [float(keras.ops.convert_to_numpy(optimizer._learning_rate(step))) for step in range(21)]
    expected = warmup_cosine(1.0, steps=20, warmup=0.1)
    np.testing.assert_allclose(rates, [float(expected(step)) for step in range(21)], atol=1e-6)
    replan(optimizer, updates=11)
    assert float(keras.ops.convert_to_numpy(optimizer._learning_rate(11))) == pytest.approx(0, abs=1e-6)
