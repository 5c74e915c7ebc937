"""Which layout trains a group's lanes fastest here: measured once for a shape, and remembered for the next time."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from lrstudy.study.dry_run import Costs
from lrstudy.study.machine import cache_folder
from lrstudy.study.plan import Group
from lrstudy.study.workdir import replacing
from lrstudy.training.layout import Layout
from lrstudy.training.loop import Job
from lrstudy.training.program import Lane, make_window

WORTH_FLOPS = 1e12
"""A group with less to compute trains as the rule says: to compile a program twice takes longer than a choice saves."""
MARGIN = 0.95
"""Of the first layout's time: what another must take at most to be chosen, lest noise decides."""
_SECONDS, _ROUNDS, _MOST_STEPS = 0.2, 3, 1 << 12

_COSTS = Costs()  # one step is lowered for all groups of one structure
Prepare = Callable[[Layout], tuple[Job, Lane]]


def chosen(group: Group, layouts: Sequence[Layout], prepare: Prepare) -> Layout:
    """The fastest layout of a group that is worth the measurement; the first of a smaller one.

    Args:
        group: whose lanes they are.
        layouts: the first is what the rule says.
        prepare: gives a layout's program and its empty lanes.
    """
    if len(layouts) == 1 or _COSTS.of(group).flops < WORTH_FLOPS:
        return layouts[0]
    path, key = cache_folder() / "layouts.json", shape_of(group)
    names = [layout.name for layout in layouts]
    known = _read(path).get(key)
    if known not in names:
        known = fastest({layout.name: layout for layout in layouts}, prepare)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps({**_read(path), key: known}, indent=1))
    return layouts[names.index(known)]


def shape_of(group: Group) -> str:
    """Digest of what a program's speed depends on: the runs' structure, how many they are, and the machine."""
    run, device = group.runs[0], jax.devices()[0]
    structure = str(jax.tree.structure(run.hyperparameters)), run.config.optimizer.name, str(run.static_optimizer)
    machine = device.device_kind, len(jax.devices()), jax.__version__
    facts = [*structure, len(group.runs), run.config.record_every, *map(str, machine)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def fastest(layouts: Mapping[str, Layout], prepare: Prepare) -> str:
    """The name of the layout whose steps take least time; the first, unless another is clearly faster.

    Lanes are initialised and trained for some steps, and thrown away. A layout that the machine has no memory for is
    none.
    """
    timers: dict[str, Callable[[], float]] = {}
    for name, layout in layouts.items():
        try:
            timers[name] = _timer(*prepare(layout))
        except jax.errors.JaxRuntimeError:
            continue
    if not timers:
        return next(iter(layouts))  # its error is told when it trains
    rounds = [{name: timer() for name, timer in timers.items()} for _ in range(_ROUNDS)]
    least = {name: min(one[name] for one in rounds) for name in timers}
    first = next(iter(least))
    best = min(least, key=lambda name: least[name])
    return best if least[best] < MARGIN * least[first] else first


def _timer(job: Job, lanes: Lane) -> Callable[[], float]:
    """Seconds a step of a compiled program, over as many as make its call long enough to be timed."""
    data = job.data_at(0)
    job.close()  # the first block is enough, and nothing is read while others are timed
    held, last = [lanes], job.end_at(0, min(_MOST_STEPS, max(job.cadence.steps)))

    def call(steps: int) -> float:
        window = make_window(0, steps, fresh=True)
        began = time.perf_counter()
        held[0], _ = jax.block_until_ready(job.program(held[0], job.hparams, data, window))
        return time.perf_counter() - began

    call(1)  # compiles
    steps = 1
    while steps < last and call(steps) < _SECONDS:
        steps = min(last, 4 * steps)
    return lambda: call(steps) / steps


def _read(path: Path) -> dict[str, Any]:
    """What is remembered; nothing where the file is missing or damaged, as it can be measured again."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
