"""A helper process of a packing pass: told on standard input what to pack, in lines of JSON; answers each with one."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from tlkit.allocation import keep_freed_memory
from tlkit.data import jpeg
from tlkit.data.items import FileSource
from tlkit.data.packed_folder import MARK_BYTES, create_packed
from tlkit.data.packing_rows import pack_rows
from tlkit.data.transform import Transform


def main() -> None:
    """Packs until standard input ends."""
    keep_freed_memory()  # 300 page faults an image of 500 x 375 are a sixth of all its time.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # What else is printed is no answer.
    setup = json.loads(sys.stdin.readline())
    if not setup["simplejpeg"]:
        jpeg.simplejpeg = None
    transform = Transform.from_dict(setup["transform"])
    source = FileSource(setup["root"], setup["root"])
    packed = create_packed(Path(setup["folder"]), setup["num_items"], transform if setup["pixels"] else None)
    for line in sys.stdin:
        task = json.loads(line)
        marks = np.frombuffer(bytes.fromhex(task["marks"]), np.uint8).reshape(-1, MARK_BYTES)
        problem = None
        try:
            pack_rows(packed, source, transform, np.array(task["rows"]), task["items"], marks)
        except OSError as error:
            problem = [error.errno, error.strerror]
        answers.write(json.dumps({"problem": problem}) + "\n")
        answers.flush()
