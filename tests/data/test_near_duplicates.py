"""Near-duplicates: pairs found without comparing all, confirmed on pixels, gathered without chains."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from tlkit.data.alignment import rough_similarity, similarity
from tlkit.data.examine import examine
from tlkit.data.hash_search import close_pairs
from tlkit.data.near_duplicates import clusters_of, near_pairs


def fingerprints(images) -> tuple[np.ndarray, list[bytes]]:
    facts = [examine(image)[0] for image in images]
    return np.array([fact.perceptual_hash for fact in facts], np.uint64), [fact.thumbnail for fact in facts]


def tiles() -> list[Image.Image]:
    """Different cuttings of two photographs that show more than sky."""
    found = []
    for photo in load_sample_images().images:
        for top in range(0, 400, 100):
            for left in range(0, 600, 100):
                cutting = photo[top : top + 100, left : left + 100]
                if cutting.std() > 30:
                    found.append(Image.fromarray(cutting).resize((320, 240)))
    assert len(found) > 30
    return found


def jpeg(image: Image.Image, quality: int = 75) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


# --- search ---


@pytest.mark.parametrize("distance", [0, 3, 10, 11])
def test_search_finds_exactly_the_close_pairs(distance: int):
    generator = np.random.default_rng(0)
    hashes = generator.integers(0, 2**64, 600, dtype=np.uint64)
    flips = np.zeros(600, np.uint64)
    for row, bits in enumerate(generator.integers(0, 15, 600)):
        for bit in generator.choice(64, bits, replace=False):
            flips[row] |= np.uint64(1) << np.uint64(bit)
    hashes = np.concatenate([hashes, hashes ^ flips, hashes[:20]])
    pairs, used = close_pairs(hashes, distance, 10**9)
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    left, right = np.nonzero(np.triu(apart <= distance, 1))
    assert used == distance
    assert len(pairs) == len(left)
    assert set(map(tuple, pairs.tolist())) == set(zip(left.tolist(), right.tolist(), strict=True))


def test_search_lowers_the_distance_rather_than_drown():
    hashes = np.arange(3000, dtype=np.uint64)  # Differ in few of 12 bits.
    pairs, used = close_pairs(hashes, 10, 30_000)
    apart = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    assert used == 1
    assert len(pairs) == np.triu(apart <= 1, 1).sum() <= 30_000 < np.triu(apart <= 2, 1).sum()
    pairs, used = close_pairs(np.zeros(3000, np.uint64), 10, 30_000)
    assert (len(pairs), used) == (0, -1)


def test_search_does_not_depend_on_order():
    hashes = np.random.default_rng(1).integers(0, 2**12, 2000).astype(np.uint64)
    order = np.random.default_rng(2).permutation(2000)
    pairs, used = close_pairs(hashes, 8, 40_000)
    again, used_again = close_pairs(hashes[order], 8, 40_000)
    assert used == used_again
    named = {tuple(sorted(pair)) for pair in order[again].tolist()}
    assert named == set(map(tuple, pairs.tolist()))


# --- confirmation ---


def test_pictures_saved_again_resized_and_cropped_are_found():
    originals = tiles()
    left, top, right, bottom = 4, 3, 316, 237  # 1.25 % on each side.
    changed = {
        "saved again": [jpeg(image, 60) for image in originals],
        "halved": [jpeg(image.resize((160, 120))) for image in originals],
        "squashed": [jpeg(image.resize((224, 224))) for image in originals],
        "cropped": [jpeg(image.crop((left, top, right, bottom))) for image in originals],
    }
    for name, files in changed.items():
        hashes, thumbnails = fingerprints([*(np.asarray(image) for image in originals), *files])
        found = {tuple(pair) for pair in near_pairs(hashes, thumbnails).pairs.tolist()}
        hits = sum((row, row + len(originals)) in found for row in range(len(originals)))
        assert hits >= 0.9 * len(originals), name
        false = [pair for pair in found if pair[1] - pair[0] != len(originals)]
        assert not false, name


def test_digits_have_none():
    images = (load_digits().images * 15.9375).astype(np.uint8)
    assert len(near_pairs(*fingerprints(images)).pairs) == 0


def test_similarity_of_what_is_moved_and_of_what_is_other():
    photo = Image.fromarray(load_sample_images().images[0]).convert("L")
    corners = ((0, 0), (6, 4), (150, 90))
    at = [photo.crop((x, y, x + 320, y + 320)).resize((32, 32), Image.Resampling.BOX) for x, y in corners]
    same, moved, other = (np.frombuffer(image.tobytes(), np.uint8)[None] for image in at)
    brighter = np.clip(same.astype(int) * 0.8 + 20, 0, 255).astype(np.uint8)
    assert similarity(same, same)[0] == pytest.approx(1, abs=1e-5)
    assert similarity(same, brighter)[0] > 0.999
    assert similarity(same, moved)[0] > rough_similarity(same, moved)[0] > 0.99
    assert similarity(same, other)[0] < 0.8
    assert similarity(same, moved) == pytest.approx(similarity(moved, same), abs=1e-4)


# --- clusters ---


def test_every_member_is_near_its_centre_and_none_is_a_chain():
    chain = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    names = list("abcde")
    centres = clusters_of(6, chain, names)
    near = {tuple(sorted(pair)) for pair in chain.tolist()}
    for row, centre in enumerate(centres.tolist()):
        assert centre in (-1, row) or tuple(sorted((row, centre))) in near
    assert centres.tolist() == [1, 1, 1, 3, 3, -1] or centres.tolist() == [1, 1, 1, 4, 4, -1]
    assert clusters_of(3, np.empty((0, 2), np.int64), names).tolist() == [-1, -1, -1]


def test_clusters_do_not_depend_on_order():
    generator = np.random.default_rng(0)
    pairs = np.unique(np.sort(generator.integers(0, 200, (400, 2)), axis=1), axis=0)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    names = [f"{number:05d}" for number in generator.permutation(200)]
    order = generator.permutation(200)
    place = np.argsort(order)
    centres = clusters_of(200, pairs, names)
    again = clusters_of(200, place[pairs], [names[row] for row in order])
    assert np.array_equal(np.where(again >= 0, order[again], -1)[place], centres)
