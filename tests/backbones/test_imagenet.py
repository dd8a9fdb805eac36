"""The names of ImageNet's classes."""

from __future__ import annotations

import hashlib
import json

import numpy
import pytest

from tlkit.backbones.imagenet import class_names, decode, wnids
from tlkit.errors import InputError

# Of `imagenet_class_index.json`, as keras.applications checks it (`imagenet_utils.py`).
CLASS_INDEX_MD5 = "c2c37ea517e94d9795004a39431a14cb"


def test_the_table_is_the_one_of_keras():
    table = {str(index): [wnid, name] for index, (wnid, name) in enumerate(zip(wnids(), class_names(), strict=True))}
    assert hashlib.md5(json.dumps(table).encode()).hexdigest() == CLASS_INDEX_MD5


def test_ids_are_in_order_and_distinct():
    assert len(wnids()) == 1000
    assert list(wnids()) == sorted(set(wnids()))


def test_decode_names_the_likeliest():
    probabilities = numpy.full((2, 1000), 0.0005)
    probabilities[0, [985, 309]] = 0.6, 0.3
    probabilities[1, 0] = 0.9
    first, second = decode(probabilities, top=2)
    assert first == [(985, "n11939491", "daisy", 0.6), (309, "n02206856", "bee", 0.3)]
    assert second == [(0, "n01440764", "tench", 0.9), (1, "n01443537", "goldfish", 0.0005)]


def test_decode_gives_plain_numbers():
    prediction = decode(numpy.eye(1000, dtype="float32")[[7]], top=1)[0][0]
    assert json.loads(json.dumps(prediction._asdict())) == {
        "class_index": 7,
        "wnid": "n01514668",
        "name": "cock",
        "probability": 1.0,
    }


def test_decode_takes_all_and_none():
    assert [prediction.class_index for prediction in decode(numpy.zeros((1, 1000)), top=1000)[0]] == list(range(1000))
    assert decode(numpy.zeros((0, 1000))) == []


@pytest.mark.parametrize("shape", [(1000,), (2, 10), (1, 1, 1000)])
def test_decode_refuses_other_heads(shape):
    with pytest.raises(InputError, match=r"shape \(n, 1000\)"):
        decode(numpy.zeros(shape))


@pytest.mark.parametrize("top", [0, -1, 1001])
def test_decode_refuses_other_counts(top):
    with pytest.raises(InputError, match=f"top={top}"):
        decode(numpy.zeros((1, 1000)), top=top)


def test_decode_refuses_nan():
    with pytest.raises(InputError, match="NaN"):
        decode(numpy.full((1, 1000), numpy.nan))
