"""Writes report.json and report.md of the fixed small run anew; read the difference before keeping them.

Run from the root of the repository: python tests/goldens/report/make_report.py
"""

from __future__ import annotations

import runpy
import shutil
import tempfile
from pathlib import Path

from tlkit.report import write_report

HERE = Path(__file__).parent

build_run = runpy.run_path(str(HERE.parent.parent / "report" / "make_run.py"))["build_run"]
with tempfile.TemporaryDirectory() as folder:
    run = build_run(Path(folder) / "demo")
    write_report(run)
    for name in ("report.json", "report.md"):
        shutil.copyfile(run / name, HERE / name)
