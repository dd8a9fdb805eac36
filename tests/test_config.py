from __future__ import annotations

from pathlib import Path

import pytest

from tlkit.config import Config, options
from tlkit.config_files import ConfigError, config_to_toml, load_config
from tlkit.errors import InputError


def problems(**given: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(None, given)
    return caught.value.problems


def test_option_names_are_unique_so_that_flags_are() -> None:
    names = [option.name for option in options()]
    assert len(set(names)) == len(names)


def test_every_option_explains_itself() -> None:
    assert all(option.rule.help.endswith((".", "].")) for option in options())


def test_text_from_the_command_line_is_converted() -> None:
    config = load_config(None, {"data": "x", "epochs": "3", "learning_rate": "1e-2", "image_size": "96"})
    assert (config.training.epochs, config.training.learning_rate, config.model.image_size) == (3, 0.01, 96)


def test_words_stand_in_for_numbers_and_switches_are_true_or_false(tmp_path: Path) -> None:
    config = load_config(None, {"data": "x", "learning_rate": "auto", "batch_size": "auto", "balance": "true"})
    assert (config.training.learning_rate, config.training.batch_size, config.training.balance) == (
        "auto",
        "auto",
        True,
    )
    file = tmp_path / "run.toml"
    file.write_text('[data]\ndata = "x"\n[training]\nbatch_size = 8\nbalance = true\ndeterministic = false\n')
    training = load_config(file, {"balance": False}).training
    assert (training.batch_size, training.balance, training.deterministic) == (8, False, False)


def test_toml_round_trip(tmp_path: Path) -> None:
    config = load_config(None, {"data": 'böse "Bilder"', "image_size": 64, "seed": 7})
    file = tmp_path / "run.toml"
    file.write_text(config_to_toml(config), encoding="utf-8")
    assert load_config(file) == config


def test_command_line_wins_over_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[data]\ndata = "a"\n[training]\nseed = 1\nepochs = 4\n')
    config = load_config(file, {"seed": "2", "epochs": None})
    assert (config.training.seed, config.training.epochs) == (2, 4)


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[data]\ndata = "a"\nvalidatoin = 0.1\n[traning]\nseed = 1\n[training]\nepochs = "many"\n')
    with pytest.raises(ConfigError) as caught:
        load_config(file, {"strategy": "frozn", "batch_size": "0"})
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    for part in ("'validation'", "'training'", "epochs", "Did you mean 'frozen'?", "batch_size"):
        assert part in told
    assert all("\n" not in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"epochs": "-1"}, "at least 0"),
        ({"epochs": "2.5"}, "a whole number"),
        ({"epochs": True}, "a whole number"),
        ({"learning_rate": "0"}, "greater than 0"),
        ({"learning_rate": "nan"}, "greater than 0"),
        ({"learning_rate": "inf"}, "greater than 0"),
        ({"learning_rate": "fast"}, "a number or auto"),
        ({"batch_size": "0"}, "at least 1"),
        ({"balance": "maybe"}, "true or false"),
        ({"time_budget": "10 minutes"}, "such as 90s, 10m"),
        ({"optimizer": "adamm"}, "Did you mean 'adam'"),
        ({"layer_decay": "1.5"}, "layer_decay"),
        ({"validation": "1"}, "less than 1"),
        ({"geometry": "stretch"}, "one of crop, pad, squash"),
        ({"image_size": "abc"}, "a whole number"),
        ({"validation": "0.6", "test": "0.4"}, "leave images for training"),
    ],
)
def test_bad_values(given: dict[str, object], told: str) -> None:
    found = problems(data="x", **given)
    assert len(found) == 1
    assert told in found[0]
    assert "Received" in found[0]


def test_data_is_needed() -> None:
    assert "--data" in problems()[0]


@pytest.mark.parametrize("content", [b"[data\n", b"\xff\xfe", b"data = 3"])
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"TOML|table"):
        load_config(file, {"data": "x"})


def test_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "none.toml", {"data": "x"})


def test_defaults_obey_their_own_rules() -> None:
    assert isinstance(load_config(None, {"data": "x"}), Config)


def test_options_above_all_tables_are_told_where_they_belong(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('data = "a"\nimage-size = 96\n')
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert [problem.split("Expected ")[1].split(".")[0] for problem in caught.value.problems] == [
        "data under [data]",
        "image_size under [model]",
    ]


def test_further_checks_are_told_with_the_others() -> None:
    def refuse(value: str) -> None:
        raise InputError(f"no {value}")

    with pytest.raises(ConfigError) as caught:
        load_config(None, {"data": "x", "backbone": "resnet5", "epochs": "-1"}, {"backbone": refuse})
    assert len(caught.value.problems) == 2


def test_empty_text_is_refused() -> None:
    assert "output" in problems(data="x", output="")[0]
