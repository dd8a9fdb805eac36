"""Sets of TensorFlow Datasets, prepared by the test from pictures of its own, in both of its formats."""

from __future__ import annotations

import io
import pickle
import socket
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlkit.data import from_spec, from_tfds
from tlkit.data.masks import masks_from_tfds
from tlkit.data.tfds import RandomAccessSource
from tlkit.errors import InputError

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
)


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


PICTURES = {
    "train": [(picture(number), "dog" if number % 3 else "cat") for number in range(12)],
    "test": [(picture(100 + number), "dog" if number % 2 else "cat") for number in range(6)],
    "extra": [(picture(200), "cat")],
}


@pytest.fixture(scope="module")
def tfds() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("tensorflow_datasets")
    module.disable_progress_bar()
    return module


@pytest.fixture(scope="module")
def prepare(tfds: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Prepares the set `tiny_pets` in a file format and returns the folder that holds it."""

    class TinyPets(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.2.0")

        def _info(self) -> Any:
            features = {"picture": tfds.features.Image(), "kind": tfds.features.ClassLabel(names=["cat", "dog"])}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, manager: Any) -> Any:
            return {part: self._generate_examples(rows) for part, rows in PICTURES.items()}

        def _generate_examples(self, rows: Any) -> Any:
            for number, (data, label) in enumerate(rows):
                yield number, {"picture": io.BytesIO(data), "kind": label}

    folders: dict[str, Path] = {}

    def make(file_format: str) -> Path:
        if file_format not in folders:
            folders[file_format] = tmp_path_factory.mktemp(file_format)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                TinyPets(data_dir=folders[file_format], file_format=file_format).download_and_prepare()
        return folders[file_format]

    return make


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_prepared_sets(prepare: Any, file_format: str):
    manifest = from_tfds("tiny_pets", data_dir=prepare(file_format))
    assert manifest.class_names == ("cat", "dog")
    assert manifest.counts().to_dict("list") == {"train": [4, 8], "test": [3, 3]}
    assert [(finding.kind, finding.items) for finding in manifest.findings] == [("split left out", ("extra",))]
    assert isinstance(manifest.source, RandomAccessSource) == (file_format == "array_record")
    source = pickle.loads(pickle.dumps(manifest.source))
    rows = {
        (source.read(item), label, part)
        for item, label, part in manifest.items[["item", "label", "split"]].itertuples(index=False)
    }
    assert rows == {(data, label, part) for part in ("train", "test") for data, label in PICTURES[part]}
    assert manifest.items["item"].iloc[0] == "tiny_pets/test/000000"


def test_one_split_of_a_set_and_a_folder_of_a_builder(prepare: Any):
    folder = prepare("array_record")
    manifest = from_tfds("tiny_pets:train", data_dir=folder)
    assert manifest.counts().to_dict("list") == {"unassigned": [4, 8]}
    assert len(from_tfds("tiny_pets:1.2.0:train", data_dir=folder)) == 12
    assert len(from_spec(f"tfds:{folder}/tiny_pets/1.2.0")) == 18
    with pytest.raises(InputError, match=r"one of .*train.* after tfds:tiny_pets:. Received: 'tran'"):
        from_tfds("tiny_pets:tran", data_dir=folder)


def test_unknown_set(tfds: Any):
    with pytest.raises(InputError, match="Did you mean 'tf_flowers'") as error:
        from_spec("tfds:tf_flower")
    assert "\n" not in str(error.value)


def test_a_set_that_cannot_be_had(tfds: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("importlib_resources", reason="tensorflow-datasets needs it for its own sets")

    def unreachable(*arguments: Any, **options: Any) -> socket.socket:
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    with pytest.raises(InputError, match=r"tfds:tf_flowers to be prepared in .* no answer from .*timed out") as error:
        from_tfds("tf_flowers", data_dir=tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_masks_come_with_their_pictures(tfds: Any, tmp_path: Path, prepare: Any) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (5, 12, 18, 3)).astype(np.uint8)
    classes = rng.integers(1, 4, (5, 12, 18, 1)).astype(np.uint8)

    class MaskedPets(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            mask = tfds.features.Image(shape=(None, None, 1), use_colormap=True)
            features = {"image": tfds.features.Image(), "segmentation_mask": mask}
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, manager: Any) -> Any:
            return {"train": self._generate_examples(range(3)), "test": self._generate_examples(range(3, 5))}

        def _generate_examples(self, rows: Any) -> Any:
            for row in rows:
                yield row, {"image": pictures[row], "segmentation_mask": classes[row]}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MaskedPets(data_dir=tmp_path).download_and_prepare()
    found = masks_from_tfds(f"{tmp_path}/masked_pets/1.0.0", 6)
    assert {part: (x.shape, x.dtype.name, y.shape, y.dtype.name) for part, (x, y) in found.items()} == {
        "train": ((3, 6, 6, 3), "uint8", (3, 6, 6), "int64"),
        "test": ((2, 6, 6, 3), "uint8", (2, 6, 6), "int64"),
    }
    middles = [(one[1::2, 1::3, 0] - 1).tolist() for one in classes]  # Of the blocks of 2 x 3 pixels.
    for x, y in found.values():
        for picture, mask in zip(x, y, strict=True):
            row = middles.index(mask.tolist())
            resized = Image.fromarray(pictures[row]).resize((6, 6), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(picture, np.asarray(resized))
    with pytest.raises(InputError, match="pictures with masks"):
        masks_from_tfds("tiny_pets", 6, data_dir=prepare("tfrecord"))
