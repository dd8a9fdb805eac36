"""The fastest engine for a network on this machine, found by a short timed trial that is remembered."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import weakref
from dataclasses import asdict, dataclass

import keras
import numpy as np

from tlkit import cache
from tlkit.engines.keras_engine import KerasEngine
from tlkit.engines.opening import AUTO, Engine, open_engine
from tlkit.engines.openvino_engine import KIND, available
from tlkit.errors import InputError
from tlkit.features import has_accelerator
from tlkit.fingerprints import graph_digests
from tlkit.run import write_json

# Where `benchmarks/engines.py --accuracy` has shown no harm to the head, in pairs, on four data sets: by engine,
# the networks. Others are computed by Keras unless an engine is asked for by name. EfficientNet-Lite0, 20 pairs, points
# of accuracy and log-loss: float32 0.00 (none differs) and +0.00001; bfloat16 +0.12 +- 0.10 and +0.0002 +- 0.0013.
UNHARMED: dict[str, tuple[str, ...]] = {
    "openvino": ("efficientnet_lite0",),
    "openvino-bfloat16": ("efficientnet_lite0",),
}
FOR_HEADS_ALONE = ("openvino-bfloat16",)  # Layers that train on its rows were not compared.
SHARE = 0.05  # Of the work's estimated time, that trials may take.
EXPORT_SECONDS = 12.0  # For exporting and compiling a network: work shorter than this is Keras's.
TIMED_SECONDS = 0.4
JIT_COST = 10  # XLA compiles for so many times as long as a graph is traced.
BATCH_SIZES = (32, 64, 128)
TOLERANCE = 1e-3  # Greatest difference from Keras, relative to the greatest value, that float32 may show.
FILE = "choice.json"
KEPT = "_tlkit_engine"  # Attribute of a tensor.

_last_output: weakref.ref[keras.KerasTensor] | None = None  # The tensor that keeps an engine.


@dataclass(frozen=True)
class Choice:
    """What was chosen, and what each candidate gave.

    Attributes:
        engine: Name of the engine.
        batch_size: Images a batch.
        jit: For Keras: whether XLA compiles; None leaves it to the backend's default.
        rates: Images a second by candidate.
        note: What the user should know, or empty.
    """

    engine: str
    batch_size: int
    jit: bool | None
    rates: dict[str, float]
    note: str = ""


def preferred(wanted: str) -> tuple[str, ...]:
    """Returns the engines whose earlier results serve for a wanted one, the most exact first."""
    return ("keras", "openvino", "openvino-bfloat16") if wanted == AUTO else (wanted,)


@dataclass(frozen=True)
class _Opened:
    """An engine that is ready, and what it was opened for.

    Attributes:
        key: From `_key`: network, weights, machine.
        num_images: How much work it was chosen for.
    """

    key: str
    num_images: int
    engine: Engine
    choice: Choice


def choose_engine(model: keras.Model, wanted: str, sample: np.ndarray, num_images: int) -> tuple[Engine, Choice]:
    """Chooses an engine for a network and how it is set, by a trial that takes a twentieth of the work at most.

    The one opened last is kept as long as the tensor that it computes, so that other images of no greater number find
    it compiled.

    Args:
        model: With one input and one output.
        wanted: One of `config.ENGINES`; `"auto"` takes the fastest of those that were shown to do no harm.
        sample: Some of the images, or rows of a lower cut.
        num_images: How many there are in all.

    Raises:
        InputError: An engine that is asked for by name is not installed, or cannot hold the network.
    """
    key = _key(model, wanted, sample)
    opened = getattr(model.outputs[0], KEPT, None)
    if opened is not None and opened.key == key and num_images <= opened.num_images:
        return opened.engine, opened.choice
    engine, choice = _choose(key, model, wanted, sample, num_images)
    _keep(model.outputs[0], _Opened(key, num_images, engine, choice))
    return engine, choice


def _choose(key: str, model: keras.Model, wanted: str, sample: np.ndarray, num_images: int) -> tuple[Engine, Choice]:
    known = _recall(key)
    if known is not None:
        with contextlib.suppress(InputError):  # OpenVINO may have been removed since.
            return _open(model, known, sample.dtype), known
    engine, choice = _try_out(model, wanted, sample, num_images)
    if len(choice.rates) > 1:
        _remember(key, choice)
    return engine, choice


def _open(model: keras.Model, choice: Choice, dtype: np.dtype) -> Engine:
    if choice.engine == KerasEngine.name:
        return KerasEngine(model, choice.batch_size, choice.jit)
    return open_engine(choice.engine, model, dtype)


def _try_out(model: keras.Model, wanted: str, sample: np.ndarray, num_images: int) -> tuple[Engine, Choice]:
    if wanted not in (AUTO, KerasEngine.name):
        engine = open_engine(wanted, model, sample.dtype)
        return engine, Choice(wanted, engine.batch_size, None, {})
    best, rates, seconds = _try_keras(model, sample, num_images)
    choice = Choice("keras", best.batch_size, best.jit, rates)
    if wanted != AUTO or seconds < EXPORT_SECONDS:
        return best, choice
    return _try_others(model, best, choice, sample)


def _try_keras(model: keras.Model, sample: np.ndarray, num_images: int) -> tuple[KerasEngine, dict[str, float], float]:
    """Returns the best way to run Keras, images a second of each tried, and the seconds that the work will take."""
    best = KerasEngine(model)
    started = time.monotonic()
    rates = {_label(best): _rate(best, sample)}
    first = time.monotonic() - started
    seconds = num_images / max(rates.values())
    candidates = [(size, None, 1) for size in BATCH_SIZES[1:]] + [(0, True, JIT_COST)]
    for size, jit, cost in candidates:
        if time.monotonic() - started + cost * first > SHARE * seconds:
            break
        if jit is not None and not _may_change_jit():
            continue
        tried = KerasEngine(model, size or best.batch_size, jit)
        rates[_label(tried)] = _rate(tried, sample)
        if rates[_label(tried)] > rates[_label(best)]:
            best = tried
    return best, rates, num_images / rates[_label(best)]


def _may_change_jit() -> bool:
    """Tells whether there is something to win: only TensorFlow on a processor is left uncompiled otherwise."""
    return keras.backend.backend() == "tensorflow" and not has_accelerator()


def _try_others(model: keras.Model, best: KerasEngine, choice: Choice, sample: np.ndarray) -> tuple[Engine, Choice]:
    """Tries the other engines that do this network no harm, and returns the fastest of all."""
    rates, note = dict(choice.rates), ""
    fastest: Engine = best
    highest = rates[_label(best)]
    for name in harmless_engines(model):
        try:
            engine = open_engine(name, model, sample.dtype)
            _require_agreement(engine, best, sample)
        except InputError as error:
            note = f"{name} is left out. {error}"
            continue
        rates[name] = _rate(engine, sample)
        if rates[name] > highest:
            fastest, highest = engine, rates[name]
    jit = choice.jit if fastest is best else None
    return fastest, Choice(fastest.name, fastest.batch_size, jit, rates, note)


def harmless_engines(model: keras.Model) -> tuple[str, ...]:
    """Returns the engines other than Keras that are taken for a network without being asked for."""
    if has_accelerator() or not available():
        return ()
    names = [name for name, networks in UNHARMED.items() if model.name.startswith(networks)]
    feeds_a_head = len(model.output_shape) == 2
    return tuple(name for name in names if feeds_a_head or name not in FOR_HEADS_ALONE)


def _require_agreement(engine: Engine, trusted: Engine, sample: np.ndarray) -> None:
    found, expected = (next(iter(one.run([sample]))) for one in (engine, trusted))
    difference = float(np.max(np.abs(found - expected)) / max(float(np.max(np.abs(expected))), 1e-30))
    if not difference <= TOLERANCE * (1 if engine.name == "openvino" else 100):
        raise InputError(
            f"Expected what Keras computes. Received values that differ by {difference:.1e} of the largest."
        )


def _rate(engine: Engine, sample: np.ndarray) -> float:
    """Returns images a second, measured for a moment, after one pass that is not counted."""
    block = sample[np.arange(max(len(sample), 2 * engine.batch_size)) % len(sample)]
    for _ in engine.run([block[: engine.batch_size]]):
        pass
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < TIMED_SECONDS:
        for rows in engine.run([block, block]):
            done += len(rows)
    return done / (time.perf_counter() - start)


def _label(engine: KerasEngine) -> str:
    return f"keras, batches of {engine.batch_size}" + (", XLA" if engine.jit else "")


# --- remembering ---


def _keep(output: keras.KerasTensor, opened: _Opened) -> None:
    """Keeps an engine with the tensor it computes, and lets go of the one before: only one is in memory."""
    global _last_output
    before = None if _last_output is None else _last_output()
    if before is not None:
        delattr(before, KEPT)
    setattr(output, KEPT, opened)
    _last_output = weakref.ref(output)


def _key(model: keras.Model, wanted: str, sample: np.ndarray) -> str:
    network = graph_digests(model)[model.outputs[0]._keras_history.operation.name]
    machine = f"{keras.backend.backend()}-{keras.version()}-{platform.machine()}-{os.cpu_count()}-{has_accelerator()}"
    return f"{network}-{wanted}-{sample.dtype}-{machine}".replace(".", "_")


def _recall(key: str) -> Choice | None:
    folder = cache.find(KIND, key)
    if folder is None:
        return None
    try:
        return Choice(**json.loads((folder / FILE).read_text("utf-8")))
    except (OSError, ValueError, TypeError):  # Evicted or damaged: it is measured anew.
        return None


def _remember(key: str, choice: Choice) -> None:
    with contextlib.suppress(cache.CacheError), cache.build(KIND, key, 4096) as folder:
        if cache.find(KIND, key) is None:
            write_json(folder / FILE, asdict(choice))
