"""What a run ran on: versions, processor, memory, backend. Stored in the run folder, shown in the report."""

from __future__ import annotations

import os
import platform
import time
from importlib import metadata
from typing import Any

PACKAGES = ("keras", "tensorflow", "jax", "torch", "numpy", "scikit-learn", "pandas", "pillow", "imagehash")


def describe() -> dict[str, Any]:
    """Returns versions of Python, tlkit and the packages that decide results, and the machine's size."""
    from tlkit.version import __version__

    return {
        "tlkit": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": _memory_bytes(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def timestamp() -> str:
    """Returns the time now as runs record it: ISO 8601 with the offset from UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def peak_memory_bytes() -> int | None:
    """Returns the most memory this process has had so far, resident; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows.
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf.
        return None
