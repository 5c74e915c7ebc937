"""What the page of a study holds, in which order."""

from collections.abc import Mapping, Sequence
from typing import Any

from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.records import UNREADABLE, Records
from lrstudy.study.report.claims import claims_body, count_claims
from lrstudy.study.report.figures import figure_body
from lrstudy.study.report.markup import devices_text, text
from lrstudy.study.report.page import Section, page
from lrstudy.study.report.reproduction import command_body, configuration_body, cost_body, cost_text, group_costs
from lrstudy.study.report.runs import outcomes, parts_body, runs_body
from lrstudy.study.report.tables import listed, table
from lrstudy.study.workdir import Workdir, replacing

CLAIMS_GUIDE = """
<p>A <strong>claim</strong> is something the paper says, made a number: what is measured from the records of the runs
is compared with a <strong>threshold</strong> that was fixed before anything was trained. It holds or it does not.</p>
<p>The <strong>interval</strong> is a 95% confidence interval of what the number estimates, as a rule of a mean over
seeds: were the study repeated with other seeds, 95 of 100 such intervals would hold that. A claim without noise has
none; <em>n</em> counts what the interval is over. In the small drawings the dot is the measured number, the bar its
interval, the dashed line the threshold, and the shaded side is where the claim holds.</p>
<p><strong>Not settled</strong> means that the interval reaches across the threshold: other seeds could have decided
otherwise, and more of them would tell.</p>
"""

RUNS_GUIDE = """
<p>A run is <em>ok</em> if it was trained to its end, <em>diverged</em> if its loss was no longer finite (a result
like any other: its last finite metrics are kept), <em>stopped</em> if it was given up early because others were likely
to end better, <em>preempted</em> if it waits to go on, and <em>failed</em> if its program broke. In figures a band is
the range over seeds.</p>
"""


def write(
    experiment: Experiment,
    workdir: Workdir,
    records: Records,
    claims: Sequence[Mapping[str, Any]],
    header: Mapping[str, Any],
) -> None:
    """Writes every figure as SVG and ``report.html``, which holds them.

    Args:
        experiment: what was studied.
        workdir: its folder.
        records: of its runs.
        claims: the entries of ``claims.json``.
        header: what ``config.json`` holds.
    """
    costs = group_costs(workdir, records)
    sections = [
        Section("summary", "Summary", _summary(records, claims, costs, header)),
        Section("guide", "How to read this page", (CLAIMS_GUIDE if claims else "") + RUNS_GUIDE),
        Section("claims", "Claims", claims_body(claims)),
        Section("parts", "What was run", parts_body(records)),
        _figures(experiment, workdir, records),
        _tables(experiment, records),
        Section("runs", "Runs", runs_body(records)),
        Section("reproduce", "To reproduce", command_body(header)),
        Section("cost", "Cost", cost_body(costs)),
        Section("configuration", "Configuration", configuration_body(header)),
    ]
    paper = f"<p><em>{text(experiment.paper)}</em></p>" if experiment.paper else ""
    lead = f'{paper}<p class="question">{text(experiment.question)}</p>'
    with replacing(workdir.report) as temporary:
        temporary.write_text(page(experiment.title, lead, sections), encoding="utf-8", errors="replace")


def _summary(
    records: Records, claims: Sequence[Mapping[str, Any]], costs: list[dict[str, Any]], header: Mapping[str, Any]
) -> str:
    time, made = cost_text(costs)
    held = [(f"claims that {label}", number) for label, number in count_claims(claims)] if claims else []
    asked = records.asked()
    runs = [("runs", f"{len(asked.runs):,}: {outcomes(asked)}")]
    if len(asked.runs) < len(records.runs):
        runs.append(("runs they start from", f"{len(records.runs) - len(asked.runs):,}"))
    return listed([*held, *runs, ("cost", f"{time}: {made}"), ("devices", devices_text(header["devices"]))])


def _has(view: Figure | Table, records: Records) -> bool:
    """Whether every part that a view needs has finished runs."""
    return all(len(records.part(name).runs) for name in view.parts)


def _figures(experiment: Experiment, workdir: Workdir, records: Records) -> Section:
    shown = [figure for figure in experiment.figures if _has(figure, records)]
    body = "\n".join(figure_body(figure, workdir, records) for figure in shown)
    return Section("figures", "Figures", body, [(f"figure-{figure.name}", _words(figure.name)) for figure in shown])


def _tables(experiment: Experiment, records: Records) -> Section:
    shown = [own for own in experiment.tables if _has(own, records)]
    body = "\n".join(_table(own, records) for own in shown)
    return Section("tables", "Tables", body, [(f"table-{own.name}", _words(own.name)) for own in shown])


def _table(own: Table, records: Records) -> str:
    identity = f"table-{text(own.name)}"
    try:
        return table(own.compute(records), own.caption, identity)
    except UNREADABLE as error:
        return f'<p id="{identity}">{text(own.caption)}: not made, {text(error)}</p>'


def _words(name: str) -> str:
    return name.replace("_", " ")
