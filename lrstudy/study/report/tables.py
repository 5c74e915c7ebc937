"""Data frames as tables that a reader can sort."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lrstudy.study.report.markup import counted, plain, text

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 2000
"""Rows of a table: of twenty thousand the page would be ten megabytes, most of it never looked at."""

MOST_CELLS = 100_000
"""Cells of a table, for the same reason: some studies have a hundred columns."""

_TALL = 30


def shown_rows(frame: "pd.DataFrame") -> int:
    """How many rows of a frame a table shows."""
    return min(len(frame), MOST_ROWS, max(1, MOST_CELLS // max(1, len(frame.columns))))


def table(
    frame: "pd.DataFrame",
    caption: str,
    identity: str,
    *,
    extra: Collection[str] = (),
    classes: Sequence[str] = (),
    marked: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """A table in a box of its own that scrolls, its first column the name of each row.

    Args:
        frame: rows and columns; numbers are sorted as numbers.
        caption: what it holds.
        identity: the table's id in the page.
        extra: columns that the page's script hides until they are asked for.
        classes: one a row, for looks; empty for none.
        marked: column name to cells that are markup already, instead of the frame's.
    """
    rows = shown_rows(frame)
    left = f" The first {counted(rows, 'row')} of {len(frame):,}." if rows < len(frame) else ""
    shown = frame.head(rows)
    # By place, for two columns may have one name.
    values = [shown.iloc[:, place] for place in range(len(shown.columns))]
    numeric = list(map(_is_number, values))
    head = "".join(_head(str(name), own, name in extra) for name, own in zip(shown.columns, numeric, strict=True))
    columns = [
        _cells((marked or {}).get(str(own.name)) or map(text, own.tolist()), number, first=place == 0)
        for place, (own, number) in enumerate(zip(values, numeric, strict=True))
    ]
    starts = (f'<tr class="{text(own)}">' if own else "<tr>" for own in classes or [""] * rows)
    body = "".join(
        f"{start}{''.join(row)}</tr>" for start, row in zip(starts, zip(*columns, strict=True), strict=False)
    )
    return boxed(
        f'<table class="sortable" id="{identity}"><caption>{text(caption)}{left}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>",
        caption,
        tall=rows > _TALL,
    )


def boxed(inner: str, label: str, *, tall: bool = False) -> str:
    """Markup in a box that scrolls by itself, with the keyboard too; one that is tall scrolls downwards as well."""
    looks = "box tall" if tall else "box"
    return f'<div class="{looks}" role="region" aria-label="{text(label)}" tabindex="0">{inner}</div>'


def _head(name: str, numeric: bool, extra: bool) -> str:
    kind = ' data-kind="number"' if numeric else ""
    classes = " ".join(looks for looks, own in (("n", numeric), ("extra", extra)) if own)
    return f'<th scope="col" class="{classes}"{kind}>{text(name)}</th>'


def _cells(cells: Iterable[str], numeric: bool, first: bool) -> list[str]:
    looks = ' class="n"' if numeric else ""
    if first:
        return [f'<th scope="row"{looks}>{cell}</th>' for cell in cells]
    start = f"<td{looks}>"
    return [f"{start}{cell}</td>" if cell else "<td></td>" for cell in cells]


def _is_number(column: "pd.Series") -> bool:
    import pandas as pd

    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def listed(pairs: Iterable[tuple[str, Any]]) -> str:
    """Names and values as a list of descriptions."""
    return f"<dl>{''.join(f'<dt>{text(name)}</dt><dd>{text(plain(value))}</dd>' for name, value in pairs)}</dl>"
