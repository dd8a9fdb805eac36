"""The environment of the peers: PyTorch for processors, torchvision and timm, made once, apart from tlkit's own."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

PACKAGES = ("torch", "torchvision", "timm")


def make_environment(folder: Path) -> Path:
    """Returns the Python of a virtual environment with the peers in it."""
    python = folder / "bin" / "python"
    ready = folder / ".installed"
    if not ready.exists():
        print(f"Installing {', '.join(PACKAGES)} into {folder}, once: about 3 GB on disk, some minutes.", flush=True)
        venv.create(folder, with_pip=True)
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
        subprocess.run(command, check=True)
        ready.touch()
    return python


def weights_file() -> Path:
    """Returns the file of EfficientNet-Lite0's weights that tlkit's environment carries."""
    from importlib.metadata import distribution

    from tlkit.backbones.packaged_weights import PACKAGE, PACKAGE_FILE

    return Path(str(distribution(PACKAGE).locate_file(PACKAGE_FILE)))


if __name__ == "__main__":
    print(make_environment(Path(sys.argv[1])))
