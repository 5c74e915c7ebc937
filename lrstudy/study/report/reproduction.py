"""How a study was made: its command, its versions and devices, what it cost, its configuration."""

import json
from collections.abc import Mapping
from typing import Any

from lrstudy.study.records import Records
from lrstudy.study.report.markup import counted, devices_text, duration, text
from lrstudy.study.report.tables import listed, table
from lrstudy.study.store import begun_groups
from lrstudy.study.workdir import Workdir

_WAITED = "seconds waiting for data"
_WORTH_SAYING = 0.01


def command_body(header: Mapping[str, Any]) -> str:
    """The command, the versions and the devices."""
    versions = ", ".join(f"{name} {version}" for name, version in header["versions"].items())
    facts = listed([("preset", header["preset"]), ("versions", versions), ("devices", devices_text(header["devices"]))])
    note = "Run with the same versions it trains the same runs; in the same folder it has nothing left to do."
    return f'<div class="command">{preformatted(header["command"], "Command")}</div><p>{note}</p>{facts}'


def configuration_body(header: Mapping[str, Any]) -> str:
    """What all runs of a part share, as it was written into ``config.json``."""
    note = "<p>What all runs of a part share; what they differ in is in the table of runs.</p>"
    config = preformatted(json.dumps(header["config"], indent=1), "Configuration")
    return f"{note}<details><summary>configuration</summary>{config}</details>"


def preformatted(content: str, label: str) -> str:
    """Lines as they are, which the keyboard can scroll."""
    return f'<pre tabindex="0" role="region" aria-label="{label}">{text(content)}</pre>'


def group_costs(workdir: Workdir, records: Records) -> list[dict[str, Any]]:
    """What every compiled program that holds runs of the study cost, those of earlier commands included."""
    begun, homes = begun_groups(workdir), list(dict.fromkeys(records.runs["group"]))
    return [_cost(name, begun[name]) for name in homes if name in begun]


def _cost(name: str, group: Mapping[str, Any]) -> dict[str, Any]:
    ends = [entry["updates"] for entry in group.get("outcomes", [])]
    # A run that starts from another's checkpoint was not trained up to there, and perhaps that one diverged before.
    starts = [step for _, step in group.get("branches") or ()] or [0] * len(ends)
    made = sum(max(0, end - start) for end, start in zip(ends, starts, strict=False))
    seconds = group.get("cost", {}).get("seconds")
    return {
        "program": name,
        "part": group.get("part", "") or "all",
        "runs": len(group["runs"]),
        "layout": group.get("layout") or "",
        "updates": made,
        "seconds": seconds,
        _WAITED: group.get("cost", {}).get("waited"),
        "updates a second": made / seconds if seconds else None,
    }


def cost_text(costs: list[dict[str, Any]]) -> tuple[str, str]:
    """The training time, and what was made in it."""
    seconds = sum(cost["seconds"] or 0.0 for cost in costs)
    updates = sum(cost["updates"] for cost in costs)
    return f"{duration(seconds)} of training", f"{counted(updates, 'update')} in {counted(len(costs), 'program')}"


def cost_body(costs: list[dict[str, Any]]) -> str:
    """One row a compiled program, and the sum of all."""
    import pandas as pd

    time, made = cost_text(costs)
    caption = "One row a compiled program: its runs train side by side, and seconds are theirs together"
    note = f"<p>{time}, {made}: time in calls of the programs, without what probes measure afterwards.</p>"
    frame = pd.DataFrame(costs)
    # Of data in memory it is nothing, which need not be said of every program.
    if not frame[_WAITED].max() >= _WORTH_SAYING:
        frame = frame.drop(columns=_WAITED)
    return note + table(frame, caption, "cost-table")
