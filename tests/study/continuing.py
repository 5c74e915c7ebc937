"""Commands that go on from the runs of a folder, one after another in this process."""

import dataclasses

from lrstudy.study import records as records_lib
from lrstudy.study.choices import choice
from lrstudy.study.derived import plan_ready
from lrstudy.study.part import Part
from lrstudy.study.run import Launch
from lrstudy.study.store import newest_step
from lrstudy.study.trainer import PreemptedError, Settings
from lrstudy.study.workdir import Workdir, write_json
from tests.study.studies import BASE, study

CONSTANT = dataclasses.replace(BASE, schedule=choice("schedule", "Constant", peak=1.0))
COSINE = dataclasses.replace(BASE, schedule=choice("schedule", "Cosine", peak=1.0))
INFINITE = dataclasses.replace(
    BASE, schedule=choice("schedule", "Infinite", peak=1.0, constant=0.5, warmup_steps=4, cooldown_end=12, end=0.01)
)


class Stop:
    """A stop request that comes in the first call of the program: it is asked for once before that."""

    def __init__(self, wanted):
        self.wanted, self.asked = wanted, 0

    @property
    def requested(self):
        self.asked += 1
        return self.wanted and self.asked > 1


def train(root, base, policy=None, *, stop=False, axes=(), **settings):
    """One command: plans from what the folder holds and trains what is missing."""
    workdir = Workdir(root)
    plan, _ = plan_ready({"": Part(base, axes)}, workdir, policy)
    own = Launch(study(), plan, plan.groups, workdir, Settings(warn=print, **settings))
    write_json(workdir.plan, plan.to_json())
    try:
        own.run(Stop(stop))
    except PreemptedError:
        assert stop
    return own


def run_of(launch):
    (run_id,) = launch.plan.parts[""]
    return launch.plan.runs()[run_id]


def rates(launch):
    """Step to applied rate of the one run that was asked for."""
    frame = records_lib.load(launch.workdir).metrics
    mine = frame[frame["run_id"] == run_of(launch).run_id].set_index("step")["learning_rate"]
    return {int(step): float(rate) for step, rate in mine.items()}


def interrupted(root, base=COSINE, **settings):
    """A run that was stopped by the first request, after the first call of its program; returns it and its step."""
    launch = train(root, base, stop=True, **settings)
    run = run_of(launch)
    step = newest_step(launch.workdir, run.run_id)
    assert 0 < step < base.steps
    return run, step
