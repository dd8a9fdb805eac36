"""Looks into a network: what it is made of, what it costs, what it sees, and what it does to pictures."""

from __future__ import annotations

from tlkit.inspection.examining import Inspection, examine
from tlkit.inspection.facts import gather
from tlkit.inspection.outputs import inspect, print_tables, write_html, write_json, write_table

__all__ = ["Inspection", "examine", "gather", "inspect", "print_tables", "write_html", "write_json", "write_table"]
