"""How fast pictures come: the first pass and later epochs against Keras's own loader, and memory by number of images.

    python benchmarks/data.py                 # all, 5,000 pictures, 7 rounds
    python benchmarks/data.py --images 1000 --rounds 3 --skip-memory

Every round runs each contestant once, in turn, in one process; the files are in the page cache. Keras iterates
`image_dataset_from_directory` once, at 224 px. Ours reads, digests, decodes, fingerprints and packs 258 px squares,
then iterates the packed 224 px batches. Printed are images a second, median (lowest to highest), and the median of each
round's ratio to Keras. Marks: first pass 0.75 (Pillow alone 0.45), later epochs 5, memory within 10 %.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

IMAGE_SIZE = 224
MEMORY_IMAGE_SIZE = 64  # 50,000 packed pictures are then 0.8 GB; what is held in memory does not depend on it.


def make_pictures(folder: Path, count: int) -> None:
    """Writes JPEGs of about 500 x 375: crops of two photographs with noise, 110 KB on average as in ImageNet."""
    from sklearn.datasets import load_sample_images

    photographs = [Image.fromarray(array) for array in load_sample_images().images]
    generator = np.random.default_rng(0)
    for number in range(count):
        photograph = photographs[number % 2]
        scale = generator.uniform(0.5, 1)
        width, height = int(photograph.width * scale), int(photograph.height * scale)
        left = int(generator.integers(0, photograph.width - width + 1))
        top = int(generator.integers(0, photograph.height - height + 1))
        size = int(generator.integers(480, 521)), int(generator.integers(355, 396))
        crop = photograph.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
        noisy = np.asarray(crop, np.float32) + generator.normal(0, 7, (size[1], size[0], 1))
        path = folder / ("flower" if number % 2 else "temple") / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path, quality=95)


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """Returns how long a call took."""
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def keras_loader(folder: Path) -> None:
    """Iterates Keras's own loader once."""
    import keras

    size = (IMAGE_SIZE, IMAGE_SIZE)
    exhaust(keras.utils.image_dataset_from_directory(folder, image_size=size, batch_size=32, verbose=False))


def first_pass(manifest: object, transform: object) -> None:
    """Packs all pictures. The store is closed: the next one finds the memory of its pages free."""
    from tlkit import data

    data.open_store(manifest, transform).close()


def exhaust(batches: Iterable[object]) -> None:
    """Takes all batches and keeps none."""
    for _ in batches:
        pass


def measure_speed(folder: Path, count: int, rounds: int) -> None:
    """Prints images a second of each contestant and its ratio to Keras."""
    from tlkit import data
    from tlkit.data import jpeg
    from tlkit.data.loader import ImageDataset
    from tlkit.data.resample import simd_available

    manifest = data.from_directory(folder)
    fast_decoder = jpeg.simplejpeg
    contestants = {"first pass, Pillow alone": (data.Transform(IMAGE_SIZE, 258, resampler="bilinear"), None)}
    if fast_decoder and simd_available():
        contestants["first pass, extra `fast`"] = (data.make_transform(IMAGE_SIZE), fast_decoder)
    else:
        print("The extra `fast` is not installed: its first pass is left out.")
    speeds: dict[str, list[float]] = {}

    def run(name: str, work: Callable[..., object], *arguments: object) -> None:
        speeds.setdefault(name, []).append(count / seconds(work, *arguments))

    keras_loader(folder)  # Once unmeasured, so that TensorFlow has started.
    for _ in range(rounds):
        run("Keras's loader", keras_loader, folder)
        for name, (transform, jpeg.simplejpeg) in contestants.items():
            shutil.rmtree(os.environ["TLKIT_CACHE"], ignore_errors=True)
            run(name, first_pass, manifest, transform)
        store = data.open_store(manifest, transform)
        batches = ImageDataset(store, np.arange(count), manifest.labels(), 32, shuffle=True)
        run("second epoch (checks every row)", exhaust, batches)
        run("later epochs", exhaust, batches)
        store.close()
    for name, values in speeds.items():
        ratios = [ours / keras for ours, keras in zip(values, speeds["Keras's loader"], strict=True)]
        print(
            f"{name:34s}{statistics.median(values):9,.0f} images/s ({min(values):,.0f} to {max(values):,.0f})"
            f"   {statistics.median(ratios):6.2f} x Keras ({min(ratios):.2f} to {max(ratios):.2f})"
        )


class Repeated:
    """A source of as many items as wanted, all of them from a few files in memory."""

    name = "repeated"

    def __init__(self, files: list[bytes]):
        self.files = files

    def read(self, item: str) -> bytes:
        return self.files[int(item) % len(self.files)] + item.encode()  # Bytes after the end: every digest differs.

    def stamp(self, item: str) -> str:
        return item


def memory_of(count: int) -> dict[str, float]:
    """Packs and reads `count` small pictures; returns the peak of anonymous memory, in MB, above and with the start."""
    import io

    from tlkit import data
    from tlkit.data.loader import ImageDataset
    from tlkit.data.manifest import make_manifest

    files = []
    for number in range(50):
        file = io.BytesIO()
        Image.effect_noise((100, 75), 5 + number).convert("RGB").save(file, "JPEG")
        files.append(file.getvalue())
    rows = [{"item": f"{number:06d}", "label": "ab"[number % 2]} for number in range(count)]
    manifest = make_manifest(rows, Repeated(files))
    rows.clear()
    start, peak, ended = anonymous_megabytes(), [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            peak[0] = max(peak[0], anonymous_megabytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    store = data.open_store(manifest, data.Transform(MEMORY_IMAGE_SIZE, 74))
    batches = ImageDataset(store, np.arange(count), manifest.labels(), 32, shuffle=True)
    exhaust(batches)
    exhaust(batches)
    ended.set()
    watcher.join()
    return {"start": start, "peak": peak[0]}


def anonymous_megabytes() -> float:
    """Returns this process's resident anonymous memory; files that are mapped do not count. Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def measure_memory() -> None:
    """Prints the peak of anonymous memory for 1,000 and 50,000 images, each in a process of its own."""
    peaks = {}
    for count in (1_000, 50_000):
        command = [sys.executable, __file__, "--memory-of", str(count)]
        peaks[count] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        peak, start = peaks[count]["peak"], peaks[count]["start"]
        print(f"{count:7,} images: {peak:.0f} MB anonymous at most, {start:.0f} of them before the first image")
    print(f"ratio: {peaks[50_000]['peak'] / peaks[1_000]['peak']:.3f}")


def main() -> None:
    """Runs what the command line asks for, with a cache and pictures of its own in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, help="where the pictures are, or are to be made")
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["TLKIT_CACHE"] = str(Path(temporary, "cache"))
        if options.memory_of:
            print(json.dumps(memory_of(options.memory_of)))
            return
        folder = options.folder or Path(temporary, "pictures")
        if not folder.exists():
            make_pictures(folder, options.images)
        measure_speed(folder, options.images, options.rounds)
    if not options.skip_memory:
        measure_memory()


if __name__ == "__main__":
    main()
