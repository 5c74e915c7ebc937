"""A study small enough to be run many times, and a way to run it in this process."""

from lrstudy.study.choices import choice
from lrstudy.study.claims import Claim, mean_interval
from lrstudy.study.config import RunConfig
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.part import Part, axis
from lrstudy.study.plan import Earlier, make_plan, shard_of
from lrstudy.study.run import Launch, conclude
from lrstudy.study.signals import StopRequest
from lrstudy.study.store import earlier
from lrstudy.study.trainer import Settings
from lrstudy.study.views import curves_figure, objective, summary, sweep_figure
from lrstudy.study.workdir import Workdir, write_json

BASE = RunConfig(
    task=choice("task", "bigram"),
    schedule=choice("schedule", "WSD", peak=1.0, decay_fraction=0.25),
    optimizer=choice("optimizer", "momentum"),
    steps=40,
    record_every=5,
    evaluate_every=10,
)
HEADER = {"preset": "test", "command": "python -m test <b>", "config": {}, "versions": {"x": "1"}, "devices": ["cpu"]}


def parts(seeds=(0, 1), peaks=(0.5, 1.0, 2.0), base=BASE):
    return {"": Part(base, [axis("schedule.peak", peaks), axis("seed", seeds)])}


def study(**fields):
    def mean_objective(records):
        return mean_interval(records.runs[objective(records)].astype(float))

    claim = Claim("a1", "the table <learns>", "nowhere", ("",), mean_objective, "<", 3.0)
    figures = (Figure("rates", "Loss & rate", ("",), sweep_figure), Figure("curves", "Curves", ("",), curves_figure))
    tables = (Table("summary", "Every setting", ("",), summary),)
    return Experiment("test", "A <test>", "Does it?", {}, claims=(claim,), figures=figures, tables=tables, **fields)


def launch(root, chosen=None, *, experiment=None, shard=(1, 1), begun=(), **settings):
    """Trains what is missing and returns the launch; ``begun=None`` plans with what the folder holds."""
    workdir = Workdir(root)
    plan = make_plan(chosen or parts(), earlier(workdir) if begun is None else Earlier(begun))
    lines = []
    share = shard_of(plan, *shard).groups
    own = Launch(experiment or study(), plan, share, workdir, Settings(warn=lines.append, **settings))
    write_json(workdir.plan, plan.to_json())
    own.lines = lines
    with StopRequest() as stop:
        own.failed = own.run(stop)
    return own


def concluded(root, **arguments):
    own = launch(root, **arguments)
    return own, conclude(own.experiment, own.workdir, HEADER)
