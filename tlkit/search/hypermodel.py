"""`TransferHyperModel`: our spaces and phases for any tuner of KerasTuner, in code of your own."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras_tuner.src.engine.tuner_utils import SaveBestEpoch, TunerCallback

from tlkit.augment import AugmentedDataset
from tlkit.augmenting import choose_augmentation
from tlkit.classifier import build_classifier
from tlkit.config import Config
from tlkit.data.loader import ImageDataset
from tlkit.errors import InputError
from tlkit.features import prepare_inference
from tlkit.phases import Phase
from tlkit.search.hyperparameters import declare
from tlkit.search.objectives import measure
from tlkit.search.recipes import default_recipe, recipe_of_trial, with_values
from tlkit.search.space import Space, read_space
from tlkit.strategies import BODY
from tlkit.training import fine_tune
from tlkit.training.checks import check_data, checked_labels, tell_missing_classes
from tlkit.training.outcome import FineTuneHistory
from tlkit.training.recipe import recipe_of
from tlkit.training_run import wanted_phases
from tlkit.varying import is_wanted

IGNORED = ("verbose",)  # Of `fit`: our phases show nothing unless asked to.


class SearchInputError(InputError, keras_tuner.errors.FatalValueError):
    """What a search was given cannot be used in any trial: the first one ends the search, and not all of them fail."""


class TransferHyperModel(keras_tuner.HyperModel):
    """A classifier on a pretrained network, built and fine-tuned as the hyperparameters of a trial say.

    `build` gives a plain compiled `keras.Model` from raw pixels to probabilities; `fit` trains it phase by phase with
    `tlkit.fine_tune`. Under every tuner the metrics of a trial are those of the validation data: `val_accuracy`,
    `val_balanced_accuracy`, `val_log_loss` (also as `val_loss`) and `val_ece`.

    Args:
        num_classes: Number of classes.
        space: Preset, TOML file, or a `Space`.
        image_size: Side of the pictures that `search` will be given; the space does not vary it.
        backbone: Where the space does not vary it.
        weights: `"imagenet"`, `"none"` or a file.
        seed: Of shuffling and dropout.
        held: Further options of a run by name, such as `epochs=3`, that the space does not vary.
        name: As for `keras_tuner.HyperModel`.
        tunable: As for `keras_tuner.HyperModel`.

    Raises:
        ConfigError: The space, or a held option, is not one that a run takes.
        InputError: The number of classes is none from 2 on, or a `Space` varies what is held.

    Example:
        model = tlkit.search.TransferHyperModel(num_classes=10, space="quick", image_size=96)
        tuner = keras_tuner.RandomSearch(model, keras_tuner.Objective("val_accuracy", "max"), max_trials=20)
        tuner.search(x, y, validation_data=(x_val, y_val))
    """

    def __init__(
        self,
        num_classes: int,
        space: str | Space = "quick",
        *,
        image_size: int | None = None,
        backbone: str = "efficientnet_lite0",
        weights: str = "imagenet",
        seed: int = 0,
        held: Mapping[str, Any] | None = None,
        name: str | None = None,
        tunable: bool = True,
    ) -> None:
        super().__init__(name=name, tunable=tunable)
        if isinstance(num_classes, bool) or not isinstance(num_classes, int | np.integer) or num_classes < 2:
            raise InputError(f"Expected num_classes to be a whole number, at least 2. Received: {num_classes!r}.")
        fixed = {"weights": weights, "seed": seed, **(held or {})}
        base = with_values(Config(), fixed | {"backbone": backbone})
        base = with_values(base, {} if image_size is None else {"image_size": image_size})
        if isinstance(space, str):
            space = read_space(space, base, given=fixed | {"image_size": image_size or "the data's"})
        if varied := sorted({one.option for one in space.parameters} & {"image_size", *(held or {})}):
            raise InputError(
                "Expected a space that varies neither image_size, which is that of the data, nor what is held. "
                f"Received: {', '.join(varied)}. Make the space without: read_space(NAME, given={{...}}), or give its "
                "name alone."
            )
        self.num_classes, self.space, self.base = num_classes, space, base

    def recipe(self, hp: keras_tuner.HyperParameters) -> Config:
        """Returns the options of a run that the values in `hp` stand for; `tlkit finetune` takes them as TOML."""
        return recipe_of_trial(self.base, self.space, declare(hp, self.space))

    def default(self) -> Config:
        """Returns the recipe of a run without any search."""
        return default_recipe(self.base, self.space)

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Builds and compiles the classifier of a trial.

        It is compiled for `evaluate` and for a `fit` of your own: each phase of ours compiles what it trains anew.
        """
        config = self.recipe(hp)
        model = build_classifier(
            config.model.backbone,
            self.num_classes,
            image_size=config.model.image_size,
            weights=config.model.weights,
            pooling=config.model.pooling,
            dropout=config.model.dropout,
        )
        _compile(model, config)
        return model

    def fit(
        self,
        hp: keras_tuner.HyperParameters,
        model: keras.Model,
        x: Any = None,
        y: Any = None,
        *,
        validation_data: Any = None,
        epochs: int | None = None,
        initial_epoch: int = 0,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        **options: Any,
    ) -> dict[str, float]:
        """Fine-tunes the classifier of a trial.

        Args:
            hp: Its hyperparameters.
            model: From `build`, or with weights of an earlier trial, as Hyperband does it.
            x: Training data, as `tlkit.fine_tune` takes them: arrays, a dataset of tlkit, or another dataset.
            y: Labels, where `x` is an array.
            validation_data: The same for validation, a pair where they are arrays.
            epochs: Of each phase, those before `initial_epoch` counted in; as Hyperband gives them.
            initial_epoch: Epochs that the weights have behind them: the head is then not fitted anew.
            callbacks: Those of KerasTuner see the whole model once, at the end; yours see each phase.
            **options: `verbose` is taken for the tuners' sake.

        Returns:
            The metrics.

        Raises:
            SearchInputError: There are no validation data, an option of `fit` is one that the recipe decides, or the
                data are not such as this classifier takes. It is an `InputError`; KerasTuner ends the search on it.
        """
        _check_options(validation_data, options)
        data = self._checked(x if y is None else (np.asarray(x), np.asarray(y)), model, "training")
        validation_data = self._checked(validation_data, model, "validation")
        config = self.recipe(hp)
        own = [one for one in callbacks if isinstance(one, SaveBestEpoch | TunerCallback)]
        metrics = _metrics(
            fine_tune(
                model,
                self._varied(data, config),
                validation_data=validation_data,
                strategy=_phases(config, model, epochs, initial_epoch),
                recipe=replace(recipe_of(config.training), extraction=config.extraction),
                seed=config.training.seed,
                callbacks=[one for one in callbacks if one not in own],
            )
        )
        _tell_tuner(own, model, metrics)
        _compile(model, config)  # For what trains now, which is what a saved model is checked against.
        model.optimizer.build(model.trainable_variables)
        return metrics

    def _checked(self, data: Any, model: keras.Model, name: str) -> Any:
        """Returns data, labels of arrays as numbers of classes."""
        try:
            check_data(data, model.input_shape, self.num_classes, name)
        except InputError as error:
            raise SearchInputError(str(error)) from None
        for line in tell_missing_classes(data, self.num_classes) if name == "training" else ():
            warnings.warn(line, stacklevel=3)
        if not isinstance(data, tuple | list):
            return data
        images, labels = data
        return images, checked_labels(np.asarray(labels), self.num_classes, name)

    def _varied(self, data: Any, config: Config) -> Any:
        """Puts the augmentation of a recipe on training data."""
        asked = config.augmentation
        if not is_wanted(config):
            return data
        if not isinstance(data, tuple | ImageDataset):
            raise SearchInputError(
                "Expected arrays, or a dataset of tlkit.data.load, for a space with augmentation. Received: a "
                f"{type(data).__name__}. Hold it fixed: TransferHyperModel(held={{'augment': 'none'}})."
            )
        labels = np.asarray(data[1] if isinstance(data, tuple) else data.labels)
        counts = np.bincount(labels, minlength=self.num_classes)
        side = data[0].shape[1] if isinstance(data, tuple) else data.store.transform.image_size
        layers = choose_augmentation(asked, config.training.strategy, counts).layers(side, self.num_classes)
        return AugmentedDataset(data, layers, config.training.seed, views=asked.views)


def _check_options(validation_data: Any, options: Mapping[str, Any]) -> None:
    if unknown := sorted(set(options) - set(IGNORED)):
        raise SearchInputError(
            f"Expected x, y, validation_data, epochs and callbacks. Received: {', '.join(unknown)}. What else decides "
            "a training is in the space: TransferHyperModel(held={...}) holds it fixed."
        )
    if validation_data is None:
        raise SearchInputError("Expected validation_data: they choose the best epoch, and trials are compared on them.")


def _compile(model: keras.Model, config: Config) -> None:
    rate = config.training.learning_rate
    optimizer = keras.optimizers.AdamW(rate if isinstance(rate, float) else BODY.learning_rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    prepare_inference(model)


def _phases(config: Config, model: keras.Model, epochs: int | None, initial_epoch: int) -> tuple[Phase, ...]:
    phases = wanted_phases(config, model)
    if epochs is not None:
        left = max(epochs - initial_epoch, 1)
        phases = tuple(replace(phase, epochs=left) if phase.epochs else phase for phase in phases)
    if initial_epoch and any(phase.epochs for phase in phases):
        phases = tuple(phase for phase in phases if phase.epochs)
    return phases


def _tell_tuner(callbacks: Sequence[keras.callbacks.Callback], model: keras.Model, metrics: dict[str, float]) -> None:
    """Has KerasTuner's callbacks see the whole model, where those of `fit` would see the part that trains."""
    for callback in callbacks:
        callback.set_model(model)
        callback.on_epoch_end(0, dict(metrics))


def _metrics(history: FineTuneHistory) -> dict[str, float]:
    last = next(outcome for outcome in reversed(history.outcomes) if outcome.kept)
    assert last.probabilities is not None
    figures = measure(last.labels, last.probabilities)
    return {f"val_{name}": value for name, value in figures.items()} | {"val_loss": figures["log_loss"]}
