"""Parts that follow from the records of other parts, and are planned once those are finished."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

from lrstudy.study.errors import StudyError
from lrstudy.study.part import Part
from lrstudy.study.plan import Plan, make_plan
from lrstudy.study.records import UNREADABLE, Records, load
from lrstudy.study.resume import Continuation, Policy, refuse_mismatch
from lrstudy.study.store import earlier, finished_runs, newest_step, read_table
from lrstudy.study.workdir import Workdir


@dataclasses.dataclass(frozen=True)
class Derived:
    """A part whose runs follow from what other parts found: the tuned rate on fresh seeds, a schedule made from norms.

    It has no flags of its own; what a user changes in its sources reaches it through their records.

    Attributes:
        sources: names of the parts, which stand before it in the preset.
        make: their records to the part; the same records must give the same part.
    """

    sources: tuple[str, ...]
    make: Callable[[Records], Part]


Parts = Mapping[str, Part | Derived]


def static_parts(parts: Parts) -> dict[str, Part]:
    """The parts that follow from no records."""
    return {name: part for name, part in parts.items() if isinstance(part, Part)}


def plan_ready(parts: Parts, workdir: Workdir, policy: Policy | None = None) -> tuple[Plan, dict[str, str]]:
    """Plans every part that can be planned from what is finished in the folder.

    Args:
        parts: of a preset, in order.
        workdir: of the study.
        policy: what becomes of a run of the folder that is asked for under another schedule.

    Returns:
        The plan, and for every derived part that is not in it the reason.

    Raises:
        ConfigError: a run cannot be resolved.
        ScheduleMismatchError: a run would go on under another schedule, and no policy says how.
    """
    known: dict[str, Part] = static_parts(parts)
    waiting: dict[str, str] = {}
    found = earlier(workdir)
    newest = functools.cache(functools.partial(newest_step, workdir))
    adopt = Continuation(policy, found, newest)
    plan = make_plan(known, found, adopt)
    refuse_mismatch(plan, found, newest)
    for name, part in parts.items():
        if not isinstance(part, Derived):
            continue
        try:
            known[name] = part.make(_records(part, plan, workdir))
        except UNREADABLE as error:
            waiting[name] = str(error)
            continue
        # In the preset's order, so that a relaunch trains and reports in the order of the first launch.
        plan = make_plan({own: known[own] for own in parts if own in known}, found, adopt)
    return plan, waiting


def _records(part: Derived, plan: Plan, workdir: Workdir) -> Records:
    """The records of the sources.

    Raises:
        StudyError: a source has a run that is not finished.
    """
    asked = {run_id for source in part.sources for run_id in plan.parts.get(source, ())}
    absent = [source for source in part.sources if source not in plan.parts]
    left = len(asked - (_recorded(workdir) & set(finished_runs(workdir))))
    if absent or left:
        reason = f"part {absent[0]} is not there" if absent else f"{left} runs are not finished"
        raise StudyError(f"it waits for {', '.join(part.sources)}: {reason}")
    return load(workdir, plan.to_json())


def _recorded(workdir: Workdir) -> set[str]:
    """The runs whose end is in the table: one that was written while a run trained says nothing of what came of it."""
    if not workdir.runs.is_file():
        return set()
    runs = read_table(workdir.runs)
    return set(runs["run_id"][runs["outcome"] != "preempted"])
