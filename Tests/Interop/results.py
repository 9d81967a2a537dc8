"""Figures that a run prints and writes down; none of them is ever asserted."""

import json
from pathlib import Path


class Results:
    """Tables by title. With a path they are also written there, as JSON."""

    def __init__(self, path=None):
        self._path = path
        self._tables = {}

    def add(self, title, **row):
        self._tables.setdefault(title, []).append(row)

    def text(self):
        return "\n\n".join(f"{title}\n{_table(rows)}" for title, rows in self._tables.items())

    def write(self):
        if self._path and self._tables:
            Path(self._path).write_text(json.dumps(self._tables, indent=2) + "\n")


def _table(rows):
    columns = list(rows[0])
    cells = [columns] + [[str(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in cells)
