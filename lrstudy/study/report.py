"""The report: one self-contained page that a stranger understands."""

import html
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lrstudy.study.claims import caveat, interval_text, unsettled
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.figures import style
from lrstudy.study.records import UNREADABLE, Records, numbered
from lrstudy.study.store import begun_groups
from lrstudy.study.workdir import Workdir, replacing

if TYPE_CHECKING:
    import pandas as pd

MOST_RUNS = 2000
"""Rows of the table of runs: of twenty thousand the page would be ten megabytes, most of it never looked at."""

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --line: #d0d0d0; --good: #00734f; --bad: #b00020; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --paper: #16181c; --line: #3a3f47; --good: #4cc38a; --bad: #ff7b72; }
  figure svg { background: #ffffff; border-radius: 4px; }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 62rem; padding: 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
table { border-collapse: collapse; font-size: 0.85rem; }
th, td { border-bottom: 1px solid var(--line); padding: 0.25rem 0.6rem; text-align: left; vertical-align: top; }
td.number { text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { overflow-x: auto; }
.yes { color: var(--good); font-weight: 600; } .no { color: var(--bad); font-weight: 600; }
figure { margin: 1.5rem 0; } figure svg { width: 100%; max-width: 44rem; height: auto; }
figcaption { font-size: 0.9rem; }
pre { overflow-x: auto; padding: 0.6rem; border: 1px solid var(--line); border-radius: 4px; font-size: 0.85rem; }
"""


def write(
    experiment: Experiment,
    workdir: Workdir,
    records: Records,
    claims: Sequence[Mapping[str, Any]],
    header: Mapping[str, Any],
) -> None:
    """Writes every figure as SVG and ``report.html``, which holds them."""
    sections = [
        _heading(experiment),
        _claims(claims),
        *(_figure(figure, workdir, records) for figure in experiment.figures if _has(figure, records)),
        *(_table(table, records) for table in experiment.tables if _has(table, records)),
        _runs(records),
        _reproduce(header, workdir),
    ]
    title = html.escape(experiment.title)
    page = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head>\n<body>\n" + "\n".join(sections) + "\n</body></html>\n"
    )
    with replacing(workdir.report) as temporary:
        temporary.write_text(page)


def _has(view: Figure | Table, records: Records) -> bool:
    """Whether every part that a view needs has finished runs."""
    return all(len(records.part(name).runs) for name in view.parts)


def _heading(experiment: Experiment) -> str:
    paper = f"<p><em>{html.escape(experiment.paper)}</em></p>" if experiment.paper else ""
    return f"<h1>{html.escape(experiment.title)}</h1>{paper}<p>{html.escape(experiment.question)}</p>"


def _claims(claims: Sequence[Mapping[str, Any]]) -> str:
    if not claims:
        return ""
    held = sum(claim["holds"] for claim in claims)
    rows = []
    for claim in claims:
        open_question = ", not settled" if unsettled([claim]) else ""
        word, style = ("holds", "yes") if claim["holds"] else ("does not hold", "no")
        verdict = f'<td class="{style}">{word}{open_question}</td>'
        interval = interval_text(claim).strip("[]").replace(", ", " to ")
        measured = "none" if claim["measured"] is None else f"{claim['measured']:.4g}"
        rows.append(
            f"<tr><td>{html.escape(claim['id'])}</td>{verdict}"
            f'<td class="number">{measured}</td><td class="number">{html.escape(claim["comparison"])} '
            f'{claim["threshold"]:.4g}</td><td class="number">{interval}</td><td class="number">{claim["n"]}</td>'
            f"<td>{html.escape(claim['statement'])} <small>({html.escape(claim['source'])})</small></td></tr>"
        )
    names = ("claim", "verdict", "measured", "threshold", "95% interval", "n", "statement")
    head = f"<tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>"
    note = (
        f"<p>{held} of {len(claims)} claims hold{_of_which(claims)}. Thresholds were fixed before the run; n counts "
        f"what the interval is over, seeds as a rule. {caveat(claims)}</p>"
    )
    return f'<h2>Claims</h2>{note}<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _of_which(claims: Sequence[Mapping[str, Any]]) -> str:
    """How many of those that hold other seeds could turn."""
    open_ones = sum(claim["holds"] and bool(unsettled([claim])) for claim in claims)
    return f", {open_ones} of them not settled" if open_ones else ""


def _figure(figure: Figure, workdir: Workdir, records: Records) -> str:
    path = workdir.figures / f"{figure.name}.svg"
    try:
        style.save(figure.draw(records), path)
    except UNREADABLE as error:
        return f"<p>{html.escape(figure.caption)}: not drawn, {html.escape(str(error))}</p>"
    svg = path.read_text()
    inline = svg[svg.index("<svg") :]
    # Ids are unique in one file only; two figures on one page would share their clip paths.
    for attribute in ('id="', "url(#", 'xlink:href="#'):
        inline = inline.replace(attribute, f"{attribute}{figure.name}-")
    return f"<figure>{inline}<figcaption>{html.escape(figure.caption)}</figcaption></figure>"


def _table(table: Table, records: Records) -> str:
    try:
        return f"<h2>{html.escape(table.caption)}</h2>{_frame(table.compute(records))}"
    except UNREADABLE as error:
        return f"<p>{html.escape(table.caption)}: not made, {html.escape(str(error))}</p>"


def _runs(records: Records) -> str:
    frame = records.runs
    varying = [name for name in frame.columns if numbered(frame[name].dropna()).any()]
    keep = ["run_id", *(name for name in varying if name not in ("run_id", "group"))]
    if "outcome" not in keep:
        keep.append("outcome")
    summary = ", ".join(f"{count} {name}" for name, count in frame["outcome"].value_counts().items())
    note = f"<p>The first {MOST_RUNS} of them; runs.parquet holds them all.</p>" if len(frame) > MOST_RUNS else ""
    rows = f"{note}{_frame(frame[keep].head(MOST_RUNS))}"
    return f"<h2>Runs</h2><details><summary>{len(frame)} runs: {summary}</summary>{rows}</details>"


def _frame(frame: "pd.DataFrame") -> str:
    import pandas as pd

    def cell(value: Any) -> str:
        if isinstance(value, float) and not pd.isna(value):
            return f'<td class="number">{value:.5g}</td>'
        missing = value is None or (pd.api.types.is_scalar(value) and pd.isna(value))
        return f"<td>{'' if missing else html.escape(str(value))}</td>"

    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in frame.columns)
    body = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in frame.itertuples(index=False, name=None))
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _reproduce(header: Mapping[str, Any], workdir: Workdir) -> str:
    seconds = sum(group.get("cost", {}).get("seconds", 0.0) for group in begun_groups(workdir).values())
    versions = ", ".join(f"{name} {version}" for name, version in header["versions"].items())
    facts = f"<p>{html.escape(versions)}; {html.escape(', '.join(header['devices']))}; {seconds:.0f} s of training.</p>"
    config = html.escape(json.dumps(header["config"], indent=1))
    return (
        f"<h2>To reproduce</h2><pre>{html.escape(header['command'])}</pre>{facts}"
        f"<details><summary>configuration</summary><pre>{config}</pre></details>"
    )
