"""Figures as words: no false 100 %, no hidden characters."""

from __future__ import annotations

import pytest

from tlkit.report import words


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.9407, "94.1 %"),
        (1, "100 %"),
        (0.99996, ">99.9 %"),
        (0, "0 %"),
        (0.0001, "<0.1 %"),
        (None, "–"),
    ],
)
def test_percentages_never_round_to_certainty(share: float | None, text: str) -> None:
    assert words.percent(share).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.43, "0.4 s"), (12.4, "12 s"), (185, "3 min 05 s"), (7800, "2 h 10 min"), (None, "–")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert words.duration(seconds).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("count", "text"), [(999, "999 bytes"), (23_400_000, "23.4 MB"), (24e9, "24.0 GB"), (None, "–")]
)
def test_sizes(count: float | None, text: str) -> None:
    assert words.size(count).replace("\u202f", " ") == text


def test_hidden_and_reordering_characters_are_shown() -> None:
    assert words.visible("a\u202eb\u2066c\x00d\ne\u200bf") == ("a⟨U+202E⟩b⟨U+2066⟩c⟨U+0000⟩d⟨U+000A⟩e⟨U+200B⟩f")
    assert words.visible("naïve 名前 نام‌ها") == "naïve 名前 نام‌ها"


def test_right_to_left_names_keep_their_direction_to_themselves() -> None:
    assert words.quoted("قط") == "“\u2068قط\u2069”"
    assert words.quoted("cat") == "“cat”"


def test_lists_of_names_end() -> None:
    assert words.listed(["a"]) == "“a”"
    assert words.listed(["a", "b", "c"]) == "“a”, “b” and “c”"
    assert words.listed(list("abcdefg"), most=2) == "“a”, “b” and 5 more"


def test_counts_and_signs() -> None:
    assert words.counted(1, "image") == "1 image"
    assert words.counted(1200, "class", "classes") == "1,200 classes"
    assert words.signed(-0.5, 1) == "−0.5"
    assert words.short_number(0.000215) == "0.000215"
