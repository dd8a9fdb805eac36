"""Training on several devices of one host: each takes its share of every batch, and all keep the same weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from tlkit.errors import InputError


def accelerators() -> list[str]:
    """Returns the names of this host's GPUs or TPU cores as Keras lists them; none where there are none."""
    if keras.backend.backend() == "torch":
        return []
    return [name for name in keras.distribution.list_devices() if not name.lower().startswith("cpu")]


@contextmanager
def all_devices(devices: Sequence[str] | None = None) -> Iterator[int]:
    """Lets what is built and trained within the block use several devices of this host.

    With TensorFlow through `tf.distribute.MirroredStrategy`, with JAX through `keras.distribution.DataParallel`. The
    batch size stays that of all devices together, so that results are those of one device up to rounding, where every
    batch is a multiple of the devices in number. Of another one, such as an epoch's last, TensorFlow gives some device
    a picture less, each of which then counts a little more; JAX refuses it. Build the model within the block.

    Args:
        devices: Names such as `["gpu:0", "gpu:1"]`; all accelerators when None. With fewer than two nothing changes.

    Yields:
        The number of devices.

    Raises:
        InputError: More than one device under a backend that cannot share.
    """
    names = accelerators() if devices is None else list(devices)
    if len(names) < 2:
        yield 1
        return
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf  # Keras leaves several devices under TensorFlow to TensorFlow's own strategies.

        with tf.distribute.MirroredStrategy(names).scope():
            yield len(names)
    elif backend == "jax":
        before = keras.distribution.distribution()
        keras.distribution.set_distribution(keras.distribution.DataParallel(devices=names))
        try:
            yield len(names)
        finally:
            keras.distribution.set_distribution(before)
    else:
        raise InputError(
            f"Expected the backend tensorflow or jax for several devices. Received: {backend}. Use one device."
        )


def sharing_devices() -> int:
    """Returns how many devices of a `MirroredStrategy` share each batch of what is trained here; 1 without one."""
    if keras.backend.backend() != "tensorflow":
        return 1
    import tensorflow as tf

    return int(tf.distribute.get_strategy().num_replicas_in_sync)


def summed_over_devices(gradients: Sequence[Any]) -> tuple[list[Any], int] | None:
    """Returns the sums of the gradients that the devices of a `MirroredStrategy` have, and how many devices there are.

    Args:
        gradients: Those of this device, None where a variable has none.

    Returns:
        None outside of what several devices run together, and under other backends than TensorFlow.
    """
    devices = sharing_devices()
    if devices < 2:
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None:
        return None
    summed = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, [one for one in gradients if one is not None]))
    return [None if one is None else next(summed) for one in gradients], devices
