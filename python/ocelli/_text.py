"""Tables as text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Rounded(float):
    """A number that is shown with one decimal."""


def number(value: Any) -> str:
    """A value in a table: four decimals, or as many digits as a small number needs."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Rounded):
        return f"{value:.1f}"
    if isinstance(value, float):
        if value != value:
            return "NaN"
        small = value != 0 and abs(value) < 1e-3
        return f"{value:.1e}" if small else f"{value:.4f}"
    if isinstance(value, (list, tuple)):
        return ", ".join(number(each) for each in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {number(each)}" for name, each in value.items())
    return "" if value is None else str(value)


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows with aligned columns under their names."""
    rows = list(rows)
    if not rows:
        return "(empty)"
    columns = list(rows[0])
    cells = [[number(row.get(column)) for column in columns] for row in rows]
    numeric = [isinstance(rows[0].get(column), (int, float)) for column in columns]
    widths = [max(len(name), *(len(row[at]) for row in cells)) for at, name in enumerate(columns)]
    lines = []
    for row in [columns, *cells]:
        aligned = zip(row, widths, numeric)
        lines.append("  ".join(c.rjust(w) if right else c.ljust(w) for c, w, right in aligned).rstrip())
    return "\n".join(lines)
