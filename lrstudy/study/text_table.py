"""Tables as text: aligned where a program reads them, drawn by rich where a person does."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

MISSING = ""


@dataclasses.dataclass(frozen=True)
class TextTable:
    """A table of texts.

    Attributes:
        names: of the columns.
        rows: cells, as many as there are names.
        numbers: names of the columns that are aligned to the right.
        wraps: names of the columns that may be broken over lines on a narrow terminal.
    """

    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[str] = frozenset()
    wraps: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Shows what would command a terminal as the escape that it is."""
        object.__setattr__(self, "rows", [[_printable(cell) for cell in row] for row in self.rows])

    def plain(self) -> str:
        """Columns two spaces apart; of the last nothing follows its text."""
        widths = [max(map(len, column)) for column in zip(self.names, *self.rows, strict=True)]
        lines = []
        for row in (self.names, *self.rows):
            cells = zip(self.names, row, widths, strict=True)
            aligned = [cell.rjust(width) if name in self.numbers else cell.ljust(width) for name, cell, width in cells]
            lines.append("  ".join(aligned).rstrip())
        return "\n".join(lines)

    def fitting(self, width: int, kept: int) -> "TextTable":
        """The leading columns that fit a width, never fewer than ``kept``."""
        widths = [max(map(len, column)) + 2 for column in zip(self.names, *self.rows, strict=True)]
        count = len(self.names)
        while count > kept and sum(widths[:count]) > width:
            count -= 1
        return dataclasses.replace(self, names=self.names[:count], rows=[row[:count] for row in self.rows])

    def rich(self) -> Any:
        """For a terminal."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name in self.names:
            justify = "right" if name in self.numbers else "left"
            wraps = name in self.wraps
            table.add_column(name, justify=justify, no_wrap=not wraps, overflow="fold")
        for row in self.rows:
            table.add_row(*(Text(cell) for cell in row))
        return table


def _printable(cell: str) -> str:
    if cell.isprintable():
        return cell
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cell)


def number(value: Any) -> str:
    """A number in four digits, a list in brackets, nothing for what is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if isinstance(value, bool | int | str):
        return str(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"[{', '.join(number(item) for item in value)}]"
