"""Claims of two studies beside each other, and what changed from one to the other."""

from collections.abc import Iterator, Mapping
from typing import Any

from lrstudy.study.claims import unsettled
from lrstudy.study.compare.study import Study
from lrstudy.study.report.claims import drawn, ends_of, measured_text, spelled_interval, threshold_text, verdict
from lrstudy.study.report.markup import text
from lrstudy.study.report.tables import boxed

Entry = Mapping[str, Any]


def claims_body(first: Study, second: Study) -> str:
    """One row a claim; nothing where neither study claims anything."""
    pairs = list(_pairs(first, second))
    if not pairs:
        return ""
    changed = sum(one is not None and other is not None and one["holds"] != other["holds"] for one, other in pairs)
    names = ("claim", "statement", "what changed", "first", "second")
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    caption = "Every claim in both studies; of the intervals that are drawn the upper one is the first's"
    return f"<p>{changed} of {len(pairs)} verdicts changed.</p>" + boxed(
        f'<table class="sortable" id="claims-table"><caption>{caption}</caption><thead><tr>{head}</tr></thead><tbody>\n'
        f"{''.join(_row(*pair) for pair in pairs)}</tbody></table>",
        caption,
    )


def _pairs(first: Study, second: Study) -> Iterator[tuple[Entry | None, Entry | None]]:
    """The same claim of both; claims of different experiments are the same if they say the same."""
    same = first.header["experiment"] == second.header["experiment"]

    def key(claim: Entry) -> tuple[str, ...]:
        return (claim["id"],) if same else (claim["id"], claim["statement"])

    ones, others = ({key(claim): claim for claim in study.claims} for study in (first, second))
    for one in dict.fromkeys((*ones, *others)):
        yield ones.get(one), others.get(one)


def _row(one: Entry | None, other: Entry | None) -> str:
    known = [claim for claim in (one, other) if claim is not None]
    return (
        f'<tr><th scope="row">{text(known[0]["id"])}</th><td class="statement">{text(known[0]["statement"])}</td>'
        f"<td>{text('; '.join(changes(one, other)))}{drawn(known)}</td>"
        f"<td>{_side(one)}</td><td>{_side(other)}</td></tr>"
    )


def _side(claim: Entry | None) -> str:
    if claim is None:
        return "not claimed"
    interval = spelled_interval(claim)
    ends = f"<div>{interval}</div>" if interval else ""
    return f"{verdict(claim)}<div>{measured_text(claim) or 'no number'} {threshold_text(claim)}</div>{ends}"


def changes(one: Entry | None, other: Entry | None) -> Iterator[str]:
    """What changed from one decision of a claim to another, in words."""
    if one is None or other is None:
        yield "claimed by the second alone" if one is None else "claimed by the first alone"
        return
    if one["holds"] != other["holds"]:
        yield "now holds" if other["holds"] else "no longer holds"
    if bool(unsettled([one])) != bool(unsettled([other])):
        yield "no longer settled" if unsettled([other]) else "now settled"
    if threshold_text(one) != threshold_text(other):
        yield "other threshold"
    yield from _moved(one, other)


def _moved(one: Entry, other: Entry) -> Iterator[str]:
    if one["measured"] == other["measured"]:
        yield "same number"
    elif None in (one["measured"], other["measured"]):
        yield "measured in one of them alone"
    else:
        yield f"measured {other['measured'] - one['measured']:+.3g}"
        ends = (ends_of(one), ends_of(other))
        if all(ends) and (ends[0][1] < ends[1][0] or ends[1][1] < ends[0][0]):
            yield "the intervals lie apart"
