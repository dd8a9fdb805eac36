from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time

import pytest

from tlkit.backbones import registry
from tlkit.backbones.registry import get_backbone, list_backbones, register_backbone, unregister_backbone
from tlkit.errors import InputError


@pytest.mark.parametrize("name", ["resnet50", "ResNet50", "ResNet-50", "res_net 50", "RESNET50"])
def test_names_forgive_dashes_underscores_and_case(name):
    assert get_backbone(name).name == "resnet50"


def test_unknown_name_tells_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'scratch:lenet5'"):
        get_backbone("LeNet-5")
    with pytest.raises(InputError, match="Did you mean 'resnet50'") as caught:
        get_backbone("resnet5o")
    assert "\n" not in str(caught.value)


def test_listing_holds_the_forty_keras_applications_the_packaged_one_and_the_zoo():
    names = [backbone.name for backbone in list_backbones()]
    assert len(names) == len(set(names)) == 62
    assert sum(backbone.from_scratch for backbone in list_backbones()) == 21
    assert sum(backbone.weights == "keras" for backbone in list_backbones()) == 40
    assert get_backbone("efficientnet-lite0").weights == "packaged"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("vgg*", ["vgg16", "vgg19"]),
        ("VGG", ["vgg16", "vgg19", "scratch:small_vgg", "scratch:vgg11"]),
        ("scratch:*cnn", ["scratch:mnist_cnn"]),
        ("*v2b[01]", ["efficientnetv2b0", "efficientnetv2b1"]),
        ("efficientnet-lite0", ["efficientnet_lite0"]),
        ("xception", ["xception"]),
        ("no such net", []),
    ],
)
def test_patterns(pattern, expected):
    assert [backbone.name for backbone in list_backbones(pattern)] == expected


def test_published_figures():
    """The table of Keras Applications (https://keras.io/api/applications)."""
    resnet = get_backbone("resnet50")
    assert (resnet.top1, resnet.top5, resnet.depth) == (74.9, 92.1, 107)
    assert resnet.parameters_with_top == 25_636_712
    assert resnet.megabytes == 90.0
    convnext = get_backbone("convnexttiny")
    assert (convnext.top1, convnext.top5, convnext.depth) == (81.3, None, None)


def test_every_entry_is_complete_and_well_formed():
    for backbone in list_backbones():
        assert backbone.preprocessing in registry.PREPROCESSING
        assert (8 if backbone.from_scratch else 32) <= backbone.min_image_size <= backbone.default_image_size
        assert backbone.parameters is not None
        assert backbone.parameters_with_top is not None
        assert backbone.parameters < backbone.parameters_with_top
        if not backbone.from_scratch:
            assert backbone.licence
            assert str(backbone.paper).startswith("https://arxiv.org/abs/")
        assert len(backbone.stages) >= 2
        assert len({stage.name for stage in backbone.stages}) == len(backbone.stages)
        for file in backbone.weight_files:
            assert file.url.startswith("https://storage.googleapis.com/")
            assert file.digest is None or len(file.digest) in (32, 64)


def test_stages_are_found_by_name():
    assert get_backbone("resnet50").stage_layer("conv4") == "conv4_block6_out"
    with pytest.raises(InputError, match="Did you mean 'conv4'"):
        get_backbone("resnet50").stage_layer("conv44")


def test_facts_are_read_in_milliseconds_without_keras():
    """Listing must answer in a third of a second, interpreter included."""
    code = (
        "import sys, time; start = time.perf_counter();"
        "from tlkit.backbones.registry import list_backbones; list_backbones();"
        "print(time.perf_counter() - start, sorted({'keras', 'tensorflow', 'numpy', 'h5py'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, loaded = result.stdout.split(maxsplit=1)
    assert loaded.strip() == "[]"
    assert float(seconds) < 0.3
    start = time.perf_counter()
    json.loads(registry.FACTS_FILE.read_text(encoding="utf-8"))
    assert time.perf_counter() - start < 0.1


@pytest.fixture
def tinynet():
    backbone = register_backbone(
        "Tiny_Net", "some_module:TinyNet", preprocessing="unit", stages=[("stem", "conv")], paper="https://example.org"
    )
    yield backbone
    unregister_backbone("tinynet")


def test_registered_backbone_is_found_and_listed(tinynet):
    assert get_backbone("tiny-net") == tinynet
    assert tinynet in list_backbones("tiny*")
    assert tinynet.stage_layer("stem") == "conv"
    assert tinynet.family == "Tiny_Net"
    assert tinynet.megabytes is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "tinynet"}, "taken by 'Tiny_Net'"),
        ({"name": "ResNet-50"}, "taken by 'resnet50'"),
        ({"name": "_-_"}, "Expected a backbone name"),
        ({"preprocessing": "tofr"}, "Did you mean 'torch'"),
        ({"build": "module.function"}, "'module:function'"),
    ],
)
def test_bad_registrations_are_refused(tinynet, arguments, message):
    valid = {"name": "other", "build": "module:function", "preprocessing": "tf"}
    with pytest.raises(InputError, match=message):
        register_backbone(**{**valid, **arguments})


def test_unregistering_the_unknown_is_refused():
    with pytest.raises(InputError, match="Unknown registered backbone"):
        unregister_backbone("resnet50")


def test_facts_cannot_be_changed_by_accident():
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_backbone("resnet50").top1 = 99.0
