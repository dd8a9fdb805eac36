"""Spaces: presets, files that change them, conditions, and every mistake told at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tlkit.config import Config
from tlkit.config_files import ConfigError
from tlkit.errors import InputError
from tlkit.search.objectives import get_objective
from tlkit.search.parameters import Parameter
from tlkit.search.presets import CONDITIONS, PRESETS, SEARCHABLE
from tlkit.search.recipes import (
    changed_options,
    default_recipe,
    features_recipe,
    identity,
    needs_head_alone,
    recipe_of_trial,
    with_values,
)
from tlkit.search.space import Space, describe_space, read_space


def space_file(folder: Path, text: str) -> str:
    path = folder / "space.toml"
    path.write_text(text)
    return str(path)


def problems(spec: str, **options: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_space(spec, **options)  # type: ignore[arg-type]
    assert all("\n" not in problem for problem in caught.value.problems)
    return caught.value.problems


def parameter(space: Space, name: str) -> Parameter:
    return next(one for one in space.parameters if one.name == name)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_whole_and_survive_json(preset: str) -> None:
    space = read_space(preset)
    names = [one.name for one in space.parameters]
    assert len(set(names)) == len(names)
    for one in space.parameters:
        for parent, allowed in one.when:
            assert names.index(parent) < names.index(one.name)
            assert set(allowed) < set(parameter(space, parent).values)
    assert Space.from_dict(json.loads(json.dumps(space.to_dict()))) == space
    assert len(describe_space(space)) == len(space.parameters)


def test_conditions_name_options_that_come_first() -> None:
    for option, (parent, _) in CONDITIONS.items():
        assert SEARCHABLE.index(parent) < SEARCHABLE.index(option)


def test_learning_rates_matter_only_where_something_is_trained() -> None:
    assert parameter(read_space("quick"), "learning_rate").when == (("strategy", ("partial", "full")),)
    fixed = read_space("quick", given={"strategy": "full"})
    assert parameter(fixed, "learning_rate").when == ()
    frozen = read_space("quick", given={"strategy": "frozen"})
    assert [one.name for one in frozen.parameters] == ["pooling"]


def test_a_file_narrows_and_widens_a_preset(tmp_path: Path) -> None:
    text = """preset = "quick"
    [space]
    backbone = ["efficientnet_lite0", "mobilenetv2"]
    train_from = { last = 2 }
    learning_rate = { low = 1e-5, high = 1e-3, sampling = "log" }
    layer_decay = "default"
    augment = "light"
    strategy = ["partial", "full"]
    """
    space = read_space(space_file(tmp_path, text))
    assert space.fixed == {"augment": "light"}
    assert (parameter(space, "learning_rate").low, parameter(space, "learning_rate").high) == (1e-5, 1e-3)
    assert "layer_decay" not in [one.name for one in space.parameters]
    own = parameter(space, "train_from@mobilenetv2")
    assert len(own.values) == 2
    assert dict(own.when) == {"backbone": ("mobilenetv2",), "strategy": ("partial",)}


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    text = """preset = "quick"
    bogus = 1
    [space]
    backbone = ["efficientnet_lite0", "resnet51"]
    learning_rate = { low = 1e-1, high = 1e-3, sampling = "log" }
    image_size = [16, 96]
    lerning_rate = 3
    stochastic_depth = [0.0, 0.5]
    strategy = ["frozen", "partial"]
    dropout = [2.0]
    augment = ["none", "ligth"]
    """
    told = problems(space_file(tmp_path, text))
    assert len(told) == 8
    joined = "\n".join(told)
    for part in (
        "bogus",
        "resnet50",
        "low < high",
        "at least 32",
        "lerning_rate",
        "full or scratch",
        "dropout",
        "'light'",
    ):
        assert part in joined


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[space]\nstrategy = []", "at least one choice"),
        ('[space]\nstrategy = "frozen"\npooling = "avg"', "something varies"),
        ('[space]\ntrain_from = ["block99"]', "block99"),
        ("[space]\nlearning_rate = { low = 1e-5, hgih = 1e-3 }", "'high'"),
        ("[space]\noptimizer = { low = 1, high = 2 }", "list of choices"),
        ("[space]\nbatch_size = [16, 'auto']", "one kind"),
        ("[space", "valid TOML"),
        ("[space]\nbackbone = 3", "backbone to be text"),
        ("[space]\nweights = ['imagenet', 'none']", "weights at one value"),
        ("[space]\nbatch_size = { low = 16, high = 64, step = 1.5 }", "a whole step above 0"),
        ("space = 3", "[space] to be a table. Received: 3"),
        ('preset = "fast"', "Unknown preset"),
        ("[space]\ntrain_from = { last = 0 }", "last = 3"),
        ("[space]\ndropout = { low = 0.1 }", "dropout as a range with low < high. Received: no high"),
        (
            "[space]\nlearning_rate = { low = 'auto', high = 1.0 }",
            "low of learning_rate to be a number. Received: 'auto'",
        ),
    ],
)
def test_what_cannot_be_searched(tmp_path: Path, text: str, part: str) -> None:
    assert part in "\n".join(problems(space_file(tmp_path, text)))


def test_a_saved_model_has_a_size_of_its_own(tmp_path: Path) -> None:
    base = with_values(Config(), {"backbone": str(tmp_path / "own.keras")})
    assert "image_size" not in [one.name for one in read_space("full", base).parameters]


def test_every_mistake_of_a_range_is_told(tmp_path: Path) -> None:
    text = '[space]\ndropout = { low = 0.5, high = 0.1, sampling = "lgo", step = -1, hihg = 1, lwo = 2 }'
    told = problems(space_file(tmp_path, text))
    assert len(told) == 5
    for part in ("'hihg'", "'lwo'", "'lgo'", "step = -1", "0.5 to 0.1"):
        assert part in "\n".join(told)


def test_what_the_command_line_holds_fixed_is_checked_all_the_same(tmp_path: Path) -> None:
    spec = space_file(tmp_path, "[space]\ndropout = [2.0]\nbackbone = ['vgg16', 'vgg19']")
    assert "dropout" in problems(spec, given={"dropout": 0.2})[0]
    assert read_space(space_file(tmp_path, "[space]\ndropout = [0.2, 0.3]"), given={"dropout": 0.2}).parameters


def test_unknown_names_and_missing_files(tmp_path: Path) -> None:
    assert "Did you mean 'quick'?" in problems("quik")[0]
    assert "No such file" in problems(str(tmp_path / "none.toml"))[0]
    with pytest.raises(InputError, match="Did you mean 'accuracy'"):
        get_objective("acuracy")


def test_hyperband_wants_one_gradient_phase() -> None:
    assert "gradual" in problems("full", algorithm="hyperband")[0]
    assert "epochs" in problems("head", algorithm="hyperband")[0]
    assert read_space("quick", algorithm="hyperband").parameters


def test_grids_go_through_ranges_by_their_step() -> None:
    assert Parameter("dropout", low=0.0, high=0.5, step=0.1).grid() == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    assert Parameter("learning_rate", low=1e-4, high=1e-2, sampling="log").grid() == pytest.approx(
        (1e-4, 10**-3.5, 1e-3, 10**-2.5, 1e-2), rel=1e-5
    )
    assert Parameter("learning_rate", low=1e-4, high=1e-2, sampling="log", step=10).grid() == (1e-4, 1e-3, 1e-2)
    assert Parameter("batch_size", low=16, high=64, step=16).grid() == (16, 32, 48, 64)


def test_differences_are_told_by_name() -> None:
    space = read_space("quick")
    assert space.differences(read_space("quick")) == []
    lines = space.differences(read_space("quick", given={"learning_rate": 1e-3}))
    assert lines == ["learning_rate: 0.0001 to 0.01 (log); now not searched"]


def test_differences_tell_conditions_where_the_values_are_the_same() -> None:
    free = Space("own", (Parameter("dropout", (0.0, 0.5)),))
    bound = Space("own", (Parameter("dropout", (0.0, 0.5), when=(("strategy", ("full",)),)),))
    assert free.differences(bound) == ["dropout: 0.0, 0.5 everywhere; now 0.0, 0.5 where strategy is full"]


def test_a_trial_is_a_recipe_without_what_does_not_matter() -> None:
    base, space = Config(), read_space("quick")
    values = {"strategy": "frozen", "pooling": "both", "learning_rate": 1e-3, "augment": "light", "tuner/epochs": 3}
    recipe = recipe_of_trial(base, space, values)
    assert recipe.training.learning_rate is None
    assert recipe.augmentation.augment == "none"
    assert needs_head_alone(recipe)
    assert changed_options(recipe, base) == {"strategy": "frozen", "pooling": "both"}
    assert identity(recipe) == identity(recipe_of_trial(base, space, {"strategy": "frozen", "pooling": "both"}))
    trained = recipe_of_trial(base, space, values | {"strategy": "full"})
    assert (trained.training.learning_rate, trained.augmentation.augment) == (1e-3, "light")
    assert not needs_head_alone(trained)
    assert identity(trained) != identity(trained, epochs=3)
    assert identity(base) == identity(recipe_of_trial(base, read_space("full"), {"optimizer": "adamw"}))


def test_numbers_of_numpy_are_numbers() -> None:
    """KerasTuner's Bayesian oracle proposes such."""
    values = {"strength": np.float64(0.5), "batch_size": np.int64(16)}
    recipe = with_values(Config(), values)
    assert (recipe.augmentation.strength, recipe.training.batch_size) == (0.5, 16)
    assert type(recipe.augmentation.strength) is float


def test_the_default_recipe_is_that_of_finetune_under_what_the_space_holds_fixed() -> None:
    assert default_recipe(Config(), read_space("quick")) == Config()
    assert default_recipe(Config(), read_space("head")).training.strategy == "frozen"


def test_poolings_share_their_features_and_sizes_do_not() -> None:
    base, space = Config(), read_space("head")
    names = {
        identity(features_recipe(recipe_of_trial(base, space, {"pooling": pooling, "head": "ridge"})))
        for pooling in ("avg", "max", "both")
    }
    assert len(names) == 1
    larger = replace(base, model=replace(base.model, image_size=96))
    assert identity(features_recipe(larger)) not in names
