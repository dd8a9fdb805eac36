"""What holds in every phase of a training: batches, loss, precision, time."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from tlkit.config import AUTO, AUTO_SECONDS, ExtractionConfig, Option, TrainingConfig, options
from tlkit.config_files import convert, wrong_type
from tlkit.durations import parse_duration
from tlkit.errors import InputError
from tlkit.probe import HeadOptions

NO_EXTRACTION = "Expected extraction=tlkit.config.ExtractionConfig(...)."


@dataclass(frozen=True)
class Recipe:
    """Options that all phases share; ranges are those of the command line.

    Attributes:
        batch_size: Images in a step; `"auto"`: as many as memory allows, up to the data's own number, the rest
            accumulated; None: as the data bring them, 32 for arrays.
        accumulate: Steps whose gradients make one update. Schedules and averages count updates, and the group an
            epoch ends in is applied.
        clip_norm: Largest norm of all gradients together.
        head: How the head is first fitted: `"logistic"`, by `tlkit.probe`, or `"ridge"`, by `tlkit.ridge`.
        label_smoothing: Share of the truth that is spread evenly over all classes.
        penalty: L2 penalty of the convex head; None: chosen on validation, by leave-one-out for ridge.
        balance: Whether every class weighs the same, in the convex head, the loss and the choice of the best epoch.
        ema: Momentum of a moving average of the weights, which then is what is validated and kept; None for none.
        stochastic_depth: Share of the pictures for which the last residual branch is skipped, where everything trains;
            see `tlkit.regularisation.with_stochastic_depth`.
        auxiliary: Weight of each auxiliary loss where everything trains, of networks that have such; see
            `tlkit.auxiliary`.
        l2_sp: Strength of the pull to the weights that a phase starts from; see `tlkit.regularisation.pulled_to_start`.
        precision: `"float32"`, `"bfloat16"`, `"float16"` or `"auto"`, of the layers that train, head and preprocessing
            apart. Weights and the saved model are float32 in any case.
        jit: `"on"`, `"off"` or `"auto"`, for XLA.
        record_gradients: Whether each phase's outcome holds how gradients flowed, measured once an epoch.
        deterministic: Whether to ask the backend for the same bits in every run; holds for the whole process.
        time_budget: Seconds for training, or None.
        extraction: How the outputs of what is frozen are computed and kept.
    """

    batch_size: int | str | None = None
    accumulate: int = 1
    clip_norm: float = 1.0
    head: str = "logistic"
    label_smoothing: float = 0.0
    penalty: float | None = None
    balance: bool = False
    ema: float | None = None
    stochastic_depth: float = 0.0
    auxiliary: float = 0.3
    l2_sp: float = 0.0
    precision: str = "float32"
    jit: str = AUTO
    record_gradients: bool = False
    deterministic: bool = False
    time_budget: float | None = None
    extraction: ExtractionConfig = field(default_factory=ExtractionConfig)

    def __post_init__(self) -> None:
        known = {option.name: option for option in options() if option.section == "training"}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.name == "extraction":
                problem = None if isinstance(value, ExtractionConfig) else f"{NO_EXTRACTION} Received: {value!r}."
            elif item.name == "time_budget":
                problem = _seconds_problem(value)
            elif value is None and item.default is None:
                continue
            else:
                problem = _problem(known[item.name], value)
            if problem:
                raise InputError(problem)
        _ = self.head_options  # Refuses what does not go together.

    @property
    def head_options(self) -> HeadOptions:
        """How the convex head is fitted."""
        return HeadOptions(self.head, self.penalty, self.balance)


def _problem(option: Option, value: Any) -> str | None:
    """Returns what is wrong with an option's value, which text that spells a number is here, too."""
    if isinstance(value, str) and option.type is not str and value not in option.rule.words:
        return wrong_type(option, value)
    return convert(option, value)[1]


def _seconds_problem(value: Any) -> str | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value > 0):
        return None
    return f"Expected time_budget as seconds, above 0. Received: {value!r}."


def recipe_of(config: TrainingConfig) -> Recipe:
    """Returns the recipe that a run's options ask for."""
    names = {item.name for item in fields(config)}
    shared = {item.name: getattr(config, item.name) for item in fields(Recipe) if item.name in names}
    seconds = AUTO_SECONDS if config.strategy == AUTO else None
    if config.time_budget is not None:
        seconds = parse_duration(config.time_budget)
    return Recipe(**shared | {"time_budget": seconds})
