"""How a study stands, in the terminal: while it runs, once it is stopped, and in the end.

python -m lrstudy.study.show runs/mine --watch

It only reads: it takes no lock, writes nothing and starts no accelerator.
"""

import argparse
import dataclasses
import datetime
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lrstudy.study.arguments import Parser, leave_output
from lrstudy.study.claims import unsettled, verdict
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.exit_codes import BAD_COMMAND, OK, RUN_FAILED
from lrstudy.study.run_table import run_table
from lrstudy.study.standing import UNFINISHED, GroupStanding, Reader, RunStanding, Standing, outcomes, varying
from lrstudy.study.text_table import TextTable, number
from lrstudy.study.workdir import Workdir, check_study

_LOOKS, _LOOK_SECONDS = 5, 0.1
_MOST_GROUPS, _MOST_NAMED = 30, 8


@dataclasses.dataclass(frozen=True)
class _View:
    """What is shown.

    Attributes:
        facts: name and text.
        tables: below them, each with what stands before it.
    """

    facts: Sequence[tuple[str, str]]
    tables: Sequence[tuple[str, TextTable]]

    def plain(self) -> str:
        width = max(len(name) for name, _ in self.facts)
        parts = ["\n".join(f"{name:<{width}}  {text}" for name, text in self.facts)]
        parts += [f"{head}\n{table.plain()}" if head else table.plain() for head, table in self.tables]
        return "\n\n".join(parts)

    def rich(self, width: int) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        facts.add_column(style="bold", no_wrap=True)
        facts.add_column(overflow="fold")
        for name, text in self.facts:
            facts.add_row(name, Text(text))
        parts: list[Any] = [facts]
        for head, table in self.tables:
            fitting = table.fitting(width, kept=len(table.names) if table.wraps else 2)
            left = len(table.names) - len(fitting.names)
            parts += [Text(""), *([Text(head, style="bold")] if head else []), fitting.rich()]
            if left:
                parts.append(Text(f"{left} more columns where the terminal is wider, or the output a pipe"))
        return Group(*parts)


def state_of(standing: Standing, now: float) -> str:
    """Whether it runs, and who runs it since when; or that it is stopped or finished."""
    known = [holder for holder in standing.holders if holder.known]
    elsewhere = [] if standing.concluded else [holder for holder in standing.holders if not holder.known]
    named = known or elsewhere
    if named:
        first = named[0]
        since = datetime.datetime.fromtimestamp(first.since).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        others = f", and {len(named) - 1} more" if len(named) > 1 else ""
        word = "running" if known else "running on another machine, or killed there"
        return f"{word}: {first.process}{others}, since {since} ({duration(now - first.since)})"
    if standing.concluded:
        failed = outcomes(standing.runs).get("failed", 0)
        return f"finished, {failed} runs failed" if failed else "finished"
    return "stopped; the same command goes on from there"


def duration(seconds: float) -> str:
    """In the two largest units."""
    whole = max(0, round(seconds))
    units = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((place for place, (count, _) in enumerate(units) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2])


def overview(standing: Standing, now: float) -> _View:
    """The study, its programs, what diverged and what is claimed."""
    runs, trunks = standing.runs, standing.trunks
    names = varying([run.config for run in runs])
    preset = f", preset {standing.preset}" if standing.preset else ""
    facts = [
        ("study", f"{standing.experiment}{preset}, in {standing.root}"),
        ("state", state_of(standing, now)),
        ("runs", f"{len(runs)}: {_ended(runs)}" + (f"; trunks {len(trunks)}: {_ended(trunks)}" if trunks else "")),
        ("trained", duration(standing.seconds)),
    ]
    lost = [run for run in runs if run.outcome in ("diverged", "failed")]
    if lost:
        facts.append(("lost", _named(lost, names)))
    if standing.claims:
        held = sum(bool(claim["holds"]) for claim in standing.claims)
        so_far = "" if standing.concluded else " so far"
        doubt = f", {len(unsettled(standing.claims))} not settled" if unsettled(standing.claims) else ""
        facts.append(("claims", f"{held} of {len(standing.claims)} hold{so_far}{doubt}"))
    facts.append(("report", str(standing.report) if standing.report else "not written yet"))
    tables = [("", _group_table(standing.groups))]
    if standing.claims:
        tables.append(("", _claim_table(standing.claims)))
    return _View(facts, tables)


def _ended(runs: Sequence[RunStanding]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(outcomes(runs).items(), key=_finished_first))


def _finished_first(item: tuple[str, int]) -> tuple[bool, str]:
    return item[0] == UNFINISHED, item[0]


def _named(runs: Sequence[RunStanding], names: Sequence[str]) -> str:
    texts = []
    for run in runs[:_MOST_NAMED]:
        leaves = ", ".join(f"{name} {number(run.config[name])}" for name in names if name in run.config)
        texts.append(f"{run.run_id} {run.outcome} at step {run.step}" + (f" ({leaves})" if leaves else ""))
    more = [f"and {len(runs) - _MOST_NAMED} more"] if len(runs) > _MOST_NAMED else []
    return "; ".join([*texts, *more])


def _group_table(groups: Sequence[GroupStanding]) -> TextTable:
    heads = ("program", "step", "runs", "ended", "loss", "best")
    rows = _merged(groups) if len(groups) > _MOST_GROUPS else _single(groups)
    return TextTable(heads, rows, frozenset({"step", "runs", "loss", "best"}), frozenset({"program", "ended"}))


def _single(groups: Sequence[GroupStanding]) -> list[tuple[str, ...]]:
    """A row a program; those which would be called the same are told apart by leaves that all runs of each share."""
    configs: dict[str, list[Any]] = {}
    for group in groups:
        configs.setdefault(group.what, []).extend(run.config for run in group.runs)
    names = {what: varying(alike) for what, alike in configs.items()}
    rows = []
    for group in groups:
        shared = {name: {number(run.config.get(name)) for run in group.runs} for name in names[group.what]}
        leaves = [f"{name} {min(values)}" for name, values in shared.items() if len(values) == 1 and min(values)]
        rows.append(_group_row(group, leaves))
    return rows


def _group_row(group: GroupStanding, leaves: Sequence[str] = ()) -> tuple[str, ...]:
    step = f"{group.step}/{group.stop}" if group.begun else f"-/{group.stop}"
    ended = "waits" if not group.begun else _ended(group.runs)
    return ", ".join([group.what, *leaves]), step, str(len(group.runs)), ended, *_losses(group.runs)


def _losses(runs: Sequence[RunStanding]) -> tuple[str, str]:
    """The mean loss of the runs that are alive, and their smallest."""
    losses = [run.metrics["loss"] for run in runs if run.outcome in ("ok", UNFINISHED) and "loss" in run.metrics]
    losses = [loss for loss in losses if math.isfinite(loss)]
    return (number(sum(losses) / len(losses)), number(min(losses))) if losses else ("", "")


def _merged(groups: Sequence[GroupStanding]) -> list[tuple[str, ...]]:
    """Of many programs those that run one by one, and the others by part and by whether they are finished."""
    rows, together = [], {}
    for group in groups:
        if group.begun and not group.finished:
            rows.append(_group_row(group))
        else:
            together.setdefault((group.part, group.finished), []).append(group)
    for (part, finished), own in together.items():
        runs = [run for group in own for run in group.runs]
        what = f"{part or 'all runs'}: {len(own)} programs"
        ended = _ended(runs) if finished else "wait"
        rows.append((what, "", str(len(runs)), ended, *_losses(runs)))
    return rows


def _claim_table(claims: Sequence[Any]) -> TextTable:
    names = ("claim", "holds", "measured", "threshold", "statement")
    rows = [
        (
            claim["id"],
            verdict(claim),
            number(claim["measured"]) or "none",
            f"{claim['comparison']} {number(claim['threshold'])}",
            claim["statement"],
        )
        for claim in claims
    ]
    return TextTable(names, rows, frozenset({"measured", "threshold"}), frozenset({"statement"}))


def _parser() -> argparse.ArgumentParser:
    parser = Parser("lrstudy.study.show", (__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="of a study")
    parser.add_argument("--watch", action="store_true", help="again and again, until it is finished")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two looks (%(default)s)")
    parser.add_argument("--runs", action="store_true", help="a row for every run instead")
    parser.add_argument("--sort", help="column of --runs; -column: the largest first (the metric they are judged by)")
    parser.add_argument("--limit", type=int, help="rows of --runs (all)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    given = _parser().parse_args(argv)
    workdir = Workdir(given.folder)
    try:
        _check(given, workdir)
        _leave_accelerators()
        reader = Reader(workdir)
        _watch(reader, given) if given.watch else _show(_view(_patient(reader), given))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_COMMAND
    except BrokenPipeError:
        leave_output()
    except (StudyError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return RUN_FAILED
    except KeyboardInterrupt:
        return OK
    return OK


def _check(given: argparse.Namespace, workdir: Workdir) -> None:
    check_study(workdir)
    if not given.runs and (given.sort is not None or given.limit is not None):
        raise ConfigError("sort and limit are for --runs")
    if given.limit is not None and given.limit < 1:
        raise ConfigError(f"limit must be at least 1, got {given.limit!r}")
    if not 0 < given.every < math.inf:
        raise ConfigError(f"every must be a positive number of seconds, got {given.every!r}")


def _leave_accelerators() -> None:
    """What is looked at may be training on them, with all of their memory."""
    import jax

    jax.config.update("jax_platforms", "cpu")


def _view(standing: Standing, given: argparse.Namespace) -> _View:
    if not given.runs:
        return overview(standing, time.time())
    facts = [("study", f"{standing.experiment}, in {standing.root}"), ("state", state_of(standing, time.time()))]
    return _View(facts, [("", run_table(standing, given.sort, given.limit))])


def _patient(reader: Reader) -> Standing:
    """A reading; files that vanish meanwhile are looked for again."""
    for _ in range(_LOOKS - 1):
        try:
            return reader.read()
        except FileNotFoundError:
            time.sleep(_LOOK_SECONDS)
    return reader.read()


def _show(view: _View) -> None:
    if not sys.stdout.isatty():
        print(view.plain(), flush=True)
        return
    from rich.console import Console

    console = Console()
    console.print(view.rich(console.width))


def _watch(reader: Reader, given: argparse.Namespace) -> None:
    """Shows it until it is finished: in place on a terminal, elsewhere whenever it has changed."""
    if sys.stdout.isatty():
        from rich.console import Console
        from rich.live import Live

        console = Console()
        with Live(console=console, auto_refresh=False) as live:
            while True:
                standing = _patient(reader)
                live.update(_view(standing, given).rich(console.width), refresh=True)
                if standing.concluded:
                    return
                time.sleep(given.every)
    said = None
    while True:
        standing = _patient(reader)
        shown = standing.groups, standing.claims, standing.concluded, [h.process for h in standing.holders]
        if shown != said:
            print(_view(standing, given).plain(), end="\n\n", flush=True)
            said = shown
        if standing.concluded:
            return
        time.sleep(given.every)


if __name__ == "__main__":
    sys.exit(main())
