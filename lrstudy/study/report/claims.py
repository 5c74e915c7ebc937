"""Claims: verdicts, numbers, and each interval drawn beside its threshold."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lrstudy.study.claims import caveat, interval_text, unsettled
from lrstudy.study.report.markup import counted, text
from lrstudy.study.report.tables import boxed

Entry = Mapping[str, Any]
_WIDTH, _ROW, _PAD = 160, 18, 6


def verdict(entry: Entry) -> str:
    """What is said of a claim in words, as markup: the sign and the words say it, the colour only repeats them."""
    sign, words, looks = ("✓", "holds", "yes") if entry["holds"] else ("✕", "does not hold", "no")
    if entry["measured"] is None:
        words = "could not be measured"
    doubt = ' <span class="open">? not settled</span>' if unsettled([entry]) else ""
    return f'<span class="{looks}">{sign} {words}</span>{doubt}'


def count_claims(claims: Sequence[Entry]) -> list[tuple[str, str]]:
    """How many claims hold, do not, and are not settled: labels and numbers, with how many of these are settled."""
    held = [claim for claim in claims if claim["holds"]]
    others = [claim for claim in claims if not claim["holds"]]
    missing = sum(claim["measured"] is None for claim in others)
    rest = f"{len(others)}{_of_these(others)}"
    return [
        ("hold", f"{len(held)} of {len(claims)}{_of_these(held)}"),
        ("do not hold", rest + (f", {missing} could not be measured" if missing else "")),
    ]


def _of_these(claims: Sequence[Entry]) -> str:
    open_ones = len(unsettled(claims))
    return f", {open_ones} of them not settled" if open_ones else ""


def claims_body(claims: Sequence[Entry]) -> str:
    """The table of the claims; nothing for a study that claims nothing."""
    if not claims:
        return ""
    names = ("claim", "verdict", "statement", "measured", "threshold", "95% interval", "n")
    head = "".join(f'<th scope="col"{_kind(name)}>{name}</th>' for name in names)
    note = (
        f"<p>{sum(claim['holds'] for claim in claims)} of {counted(len(claims), 'claim')} hold. Thresholds were fixed "
        f"before the run; n counts what the interval is over, seeds as a rule. {text(caveat(claims))}</p>"
    )
    caption = "Every claim, what was measured, and the threshold that decides it"
    rows = "\n".join(map(_row, claims))
    return note + boxed(
        f'<table class="sortable" id="claims-table"><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{rows}</tbody></table>",
        caption,
    )


def _kind(name: str) -> str:
    return ' class="n" data-kind="number"' if name in ("measured", "n") else ""


def _row(claim: Entry) -> str:
    return (
        f'<tr id="claim-{text(claim["id"])}"><th scope="row">{text(claim["id"])}</th><td>{verdict(claim)}</td>'
        f'<td class="statement">{text(claim["statement"])} <small>({text(claim["source"])})</small></td>'
        f'<td class="n">{measured_text(claim)}</td><td class="n">{threshold_text(claim)}</td>'
        f'<td class="n">{spelled_interval(claim)} {drawn([claim])}</td><td class="n">{claim["n"]}</td></tr>'
    )


def measured_text(claim: Entry) -> str:
    """The measured number; nothing where there is none."""
    return "" if claim["measured"] is None else f"{claim['measured']:.4g}"


def threshold_text(claim: Entry) -> str:
    """The comparison with its threshold, escaped."""
    sign = {"<=": "≤", ">=": "≥"}.get(claim["comparison"], claim["comparison"])
    return f"{text(sign)} {claim['threshold']:.4g}"


def spelled_interval(claim: Entry) -> str:
    """The interval as two numbers; nothing where there is no noise."""
    return interval_text(claim).strip("[]").replace(", ", " to ")


def drawn(claims: Sequence[Entry]) -> str:
    """Measurements with their intervals, one below the other, over the side of the threshold on which a claim holds.

    Args:
        claims: the same claim as several studies decided it; the threshold drawn is the first one's.
    """
    known = [claim for claim in claims if claim["measured"] is not None]
    if not known:
        return ""
    threshold = claims[0]["threshold"]
    bounded = [end for claim in known for end in ends_of(claim) if math.isfinite(end)]
    numbers = [threshold, *(claim["measured"] for claim in known), *bounded]
    low, high = min(numbers), max(numbers)
    # Two numbers that are equal still need an axis of some width.
    span = (high - low) or abs(high) or 1.0

    def place(value: float) -> float:
        share = (value - low) / span if high > low else 0.5
        return float(np.clip(_PAD + share * (_WIDTH - 2 * _PAD), 0, _WIDTH))

    at, height = place(threshold), _ROW * len(claims)
    below = claims[0]["comparison"].startswith("<")
    start, width = (0.0, at) if below else (at, _WIDTH - at)
    rows = "".join(_drawn_row(claim, place, _ROW * (i + 0.5)) for i, claim in enumerate(claims))
    label = "; ".join(
        f"measured {measured_text(claim) or 'nothing'}, interval {spelled_interval(claim) or 'none'}"
        for claim in claims
    )
    return (
        f'<svg class="interval" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img" '
        f'aria-label="{text(label)}; the shaded side of the threshold is where it holds">'
        f'<rect class="side" x="{start:.1f}" y="0" width="{width:.1f}" height="{height}"/>'
        f'<path class="threshold" d="M{at:.1f} 0V{height}"/>{rows}</svg>'
    )


def ends_of(claim: Entry) -> tuple[float, ...]:
    """The ends of an interval, infinite where they are not bounded; none where there is no interval."""
    ends = [claim[end] for end in ("ci_low", "ci_high")]
    if None in ends:
        return ()
    # JSON has no infinity: the largest float stands for it.
    return tuple(end * math.inf if abs(end) == sys.float_info.max else end for end in ends)


def _drawn_row(claim: Entry, place: Any, y: float) -> str:
    if claim["measured"] is None:
        return ""
    ends = [place(end) for end in ends_of(claim)]
    bar = f'<path class="bar" d="M{ends[0]:.1f} {y}H{ends[1]:.1f}"/>' if ends else ""
    return f'{bar}<circle cx="{place(claim["measured"]):.1f}" cy="{y}" r="3.5"/>'
