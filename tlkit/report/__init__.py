"""The report of a run and the comparison of runs: pure functions of run folders, made without Keras."""

from __future__ import annotations

from tlkit.report.comparing import Comparison, compare_runs
from tlkit.report.comparison_page import write_comparison
from tlkit.report.search_page import write_search_page
from tlkit.report.writing import write_any_report, write_report

__all__ = [
    "Comparison",
    "compare_runs",
    "write_any_report",
    "write_comparison",
    "write_report",
    "write_search_page",
]
