"""A model as the list of the steps it computes: nested models opened, shared layers once for each call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import keras

from tlkit.backbones.flatten import is_graph
from tlkit.errors import InputError, unknown_name

Shape = tuple[int | None, ...]
Visit = Callable[[str, Any, tuple, dict], Any]

SEPARATOR = "/"  # Between a nested model's name and that of a layer in it.


@dataclass(frozen=True)
class Step:
    """One call of one operation.

    Attributes:
        name: The layer's name; `outer/inner` for a layer of a nested model; `name:2` where a layer is called again.
        operation: A `keras.Layer`, or a bare operation such as the addition in `x + y`.
        sources: Positions of the steps whose outputs it reads.
        input_shapes: Shapes of the tensors it reads, the batch axis included.
        output_shape: Shape of its (first) output.
        dtype: Type of its output, such as `"float32"`.
        repeated: True where an earlier step already counted the weights of this operation.
    """

    name: str
    operation: Any
    sources: tuple[int, ...]
    input_shapes: tuple[Shape, ...]
    output_shape: Shape
    dtype: str
    repeated: bool = False

    @property
    def kind(self) -> str:
        """The class of the operation, such as `"Conv2D"`."""
        return type(self.operation).__name__


def require_graph(model: Any) -> None:
    """Raises InputError where the steps of `model` cannot be told apart."""
    if not is_graph(model) or (isinstance(model, keras.Sequential) and not model.built):
        kind = "an unbuilt Sequential model" if isinstance(model, keras.Sequential) else "a subclassed model"
        raise InputError(
            f"Expected a functional or built Sequential keras.Model. Received: {type(model).__name__}, {kind}, whose "
            "layers cannot be followed. Build it with keras.Model(inputs, outputs)."
        )


def run(model: keras.Model, inputs: Any, visit: Visit) -> Any:
    """Runs a model step by step.

    Args:
        model: A functional or Sequential model.
        inputs: What takes the place of its inputs: one value or a list.
        visit: Called with (step name, operation, arguments, keywords) for each step; returns the step's output.

    Returns:
        The model's output or outputs.
    """
    return _run(model, inputs, visit, "", Counter())


def _run(model: Any, inputs: Any, visit: Visit, prefix: str, seen: Counter[str]) -> Any:
    function = model._functional if isinstance(model, keras.Sequential) else model

    def follow(operation: Any) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if is_graph(operation):
                return _run(operation, args[0], visit, f"{prefix}{operation.name}{SEPARATOR}", seen)
            name = prefix + operation.name
            seen[name] += 1
            return visit(name if seen[name] == 1 else f"{name}:{seen[name]}", operation, args, kwargs)

        return call

    outputs = function._run_through_graph(inputs, operation_fn=follow)
    return outputs[0] if isinstance(outputs, list | tuple) and len(outputs) == 1 else outputs


def trace(model: keras.Model, image_size: int | None = None) -> tuple[Step, ...]:
    """Lists the steps of a model in order of computation, without running it.

    The inputs come first. Nothing of the model is changed; no layer is called.

    Args:
        model: A functional or Sequential model, flat or nested, with any number of inputs.
        image_size: Side of the image, for inputs of unknown height and width; their sizes stay unknown without it.

    Raises:
        InputError: A subclassed model.
    """
    require_graph(model)
    recorder = _Recorder()
    inputs = [keras.KerasTensor(_sized(tensor.shape, image_size), tensor.dtype) for tensor in model.inputs]
    for tensor, ours in zip(model.inputs, inputs, strict=True):
        layer = tensor._keras_history.operation
        recorder.record(layer.name, layer, (), {}, ours)
    run(model, inputs, recorder.visit)
    return tuple(recorder.steps)


class _Recorder:
    """Writes down the steps of a run on symbolic tensors, and which step made which tensor."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.made: dict[int, tuple[int, Any]] = {}  # The tensors stay alive, so that their ids stay their own.
        self.known: set[int] = set()

    def visit(self, name: str, operation: Any, args: tuple, kwargs: dict) -> Any:
        # A fresh tensor for each output: an operation that hands its input on would hide where it came from.
        outputs = _fresh(operation.compute_output_spec(*args, **kwargs))
        self.record(name, operation, args, kwargs, outputs)
        return outputs

    def record(self, name: str, operation: Any, args: tuple, kwargs: dict, outputs: Any) -> None:
        read, first = _tensors((args, kwargs)), _tensors(outputs)[0]
        step = Step(
            name,
            operation,
            tuple(dict.fromkeys(self.made[id(tensor)][0] for tensor in read if id(tensor) in self.made)),
            tuple(tuple(tensor.shape) for tensor in read),
            tuple(first.shape),
            str(first.dtype),
            id(operation) in self.known,
        )
        self.known.add(id(operation))
        self.made.update((id(tensor), (len(self.steps), tensor)) for tensor in _tensors(outputs))
        self.steps.append(step)


def _tensors(structure: Any) -> list[Any]:
    return [leaf for leaf in keras.tree.flatten(structure) if isinstance(leaf, keras.KerasTensor)]


def _fresh(outputs: Any) -> Any:
    return keras.tree.map_structure(lambda tensor: keras.KerasTensor(tensor.shape, tensor.dtype), outputs)


def _sized(shape: Shape, image_size: int | None) -> Shape:
    if image_size is None or len(shape) < 3:
        return shape
    return (shape[0], *(image_size if side is None else side for side in shape[1:-1]), shape[-1])


class Named(Protocol):
    """A step, or a row of a table of steps."""

    @property
    def name(self) -> str: ...


def find_step(steps: Iterable[Named], name: str) -> int:
    """Returns the position of a step by its name; a nested layer answers to its own name where no other has it.

    Raises:
        InputError: There is none of that name; the nearest one is told.
    """
    names = [step.name for step in steps]
    if name in names:
        return names.index(name)
    inner = [position for position, one in enumerate(names) if one.rsplit(SEPARATOR, 1)[-1] == name]
    if len(inner) == 1:
        return inner[0]
    raise unknown_name("layer", name, names)


def cut_positions(steps: tuple[Step, ...]) -> tuple[int, ...]:
    """Returns the steps whose output is all that later steps need: where the model can be cut in two.

    Inputs and the last step are no cuts.
    """
    last_use = list(range(len(steps)))
    for position, step in enumerate(steps):
        for source in step.sources:
            last_use[source] = position
    cuts, furthest = [], 0
    for position in range(len(steps) - 1):
        if furthest <= position and steps[position].sources:
            cuts.append(position)
        furthest = max(furthest, last_use[position])
    return tuple(cuts)
