"""A lane whose loss is not finite: it stops there, and its neighbours cannot tell."""

import functools

import jax
import numpy as np
import pytest

from lrstudy.study.config import make_transform
from lrstudy.study.store import read_rows, read_table
from lrstudy.study.workdir import Workdir
from lrstudy.training import lanes
from tests.faults.harness import leaves, plan_of, table

CONSTANT = ("--preset=smoke", "--config.schedule=Constant", "--config.steps=12", "--config.record_every=1")
QUADRATIC = (
    *CONSTANT,
    "--config.task=quadratic",
    "--config.task.chains=64",
    "--config.optimizer=sgd",
    "--config.clip_norm=none",
)
DIGITS = (*CONSTANT, "--config.task=digits", "--config.model.width=16", "--config.task.batch_size=16")
TEXT = (
    *CONSTANT,
    "--config.task=text",
    "--config.task.context=16",
    "--config.task.batch_size=4",
    "--config.task.validation_windows=4",
    "--config.model.width=16",
    "--config.model.layers=1",
)

TASKS = {
    # Plain SGD beyond its stability limit leaves the range of float32 after some steps, AdamW with a huge rate at once.
    "quadratic": (QUADRATIC, 0.01, 1e4, 0.02),
    "digits": (DIGITS, 0.003, 1e30, 0.01),
    "text": (TEXT, 0.003, 1e30, 0.01),
}


def trained(arguments, peaks, executor):
    """Lanes with these rates trained side by side: for every lane its state, rows and final evaluation."""
    runs = plan_of((*arguments, f"--sweep.schedule.peak={','.join(map(str, peaks))}")).groups[0].runs
    assert len(runs) == len(peaks)
    transform = functools.partial(make_transform, runs[0])
    done, rows, finals = lanes.run([run.hyperparameters for run in runs], transform, executor=executor)

    def of(columns, lane):
        return {name: values[columns["lane"] == lane] for name, values in columns.items()}

    def state(lane):
        return leaves(jax.tree.map(lambda leaf: leaf[lane], done))

    return [(state(lane), of(rows, lane), of(finals, lane)) for lane in range(len(peaks))]


@pytest.fixture
def one_program(monkeypatch):
    """``lanes.run`` compiles once and trains all sets of lanes with that program."""
    spread, made = lanes.spread, []

    def once(program, executor):
        if not made:
            made.append(spread(program, executor))
        return made[0]

    monkeypatch.setattr(lanes, "spread", once)
    return made


def same_bits(left, right) -> bool:
    return left.keys() == right.keys() and all(left[n].tobytes() == right[n].tobytes() for n in left)


@pytest.mark.parametrize("executor", ["map", "vmap"])
@pytest.mark.parametrize("name", [*list(TASKS)[:-1], pytest.param("text", marks=pytest.mark.slow)])
def test_neighbours_are_untouched(name, executor, tmp_path, one_program):
    arguments, good, bad, benign = TASKS[name]
    if name == "text":
        path = tmp_path / "text"
        path.write_bytes(np.random.default_rng(0).integers(97, 123, 4000, np.uint8).tobytes())
        arguments = (*arguments, f"--config.task.path={path}")
    with_bad = trained(arguments, (good, bad, good / 2), executor)
    with_benign = trained(arguments, (good, benign, good / 2), executor)
    for lane in (0, 2):
        (state, rows, finals), (other_state, other_rows, other_finals) = with_bad[lane], with_benign[lane]
        assert state == other_state
        assert same_bits(rows, other_rows)
        assert same_bits(finals, other_finals)
        assert len(rows["step"]) == 12
    rows = with_bad[1][1]
    assert 0 < len(rows["step"]) < 12
    assert rows["step"].tolist() == list(range(len(rows["step"])))
    assert np.isfinite(rows["loss"]).all()
    assert len(with_bad[1][2]["lane"]) == 0
    assert len(with_benign[1][1]["step"]) == 12
    assert one_program[0]._cache_size() == 1


def test_a_study_with_a_diverging_lane(launcher, tmp_path):
    """A diverged run is a result: exit 0, its last finite metrics kept, the other run as it is beside a benign one."""
    command = (*QUADRATIC, "--config.schedule=WSD", "--config.schedule.decay_fraction=0.5")
    found = {}
    for peak in ("1e4", "0.02"):
        arguments = (*command, f"--sweep.schedule.peak=0.01,{peak}")
        workdir = Workdir(tmp_path / peak)
        ended = launcher.run(workdir.root, arguments)
        assert ended.code == 0, ended.err
        groups = plan_of(arguments).groups
        rows, runs = read_rows(workdir, [group.group_id for group in groups]), read_table(workdir.runs)
        neighbours = runs[runs["schedule.peak"] == 0.01].reset_index(drop=True)
        assert set(neighbours["outcome"]) == {"ok"}
        mine = rows[rows["run_id"].isin(neighbours["run_id"])].reset_index(drop=True)
        # Which group a run is in depends on its neighbours, and nothing else does.
        found[peak] = table(mine), table(neighbours.drop(columns="group"))
        if peak == "1e4":
            check_diverged(rows, runs[runs["schedule.peak"] == 1e4])
    assert found["1e4"] == found["0.02"]


def check_diverged(rows, runs) -> None:
    """A trunk and a branch that starts dead: both keep the trunk's last finite metrics."""
    assert runs["outcome"].tolist() == ["diverged"] * 2
    for _, run in runs.iterrows():
        mine = rows[rows["run_id"] == run["run_id"]].sort_values("step")
        assert mine["step"].tolist() == list(range(run["updates"]))
        for name in ("loss", "learning_rate", "grad_norm_l2", "param_norm"):
            finite = mine[name][np.isfinite(mine[name])]
            assert run[name] == finite.iloc[-1], name
            assert np.isfinite(run[name])


def test_the_last_update_diverges(launcher, tmp_path):
    """Every batch loss was finite, only that of the final parameters is not: no run like that is ok."""
    rows = trained(QUADRATIC, (0.01, 1e4), "map")[1][1]
    updates = len(rows["step"])
    arguments = (*QUADRATIC, f"--config.steps={updates}", "--config.schedule.peak=1e4")
    workdir = Workdir(tmp_path / "study")
    assert launcher.run(workdir.root, arguments).code == 0
    (run,) = read_table(workdir.runs).to_dict("records")
    assert (run["outcome"], run["updates"]) == ("diverged", updates)
    assert run["loss"] == rows["loss"][-1]
    assert not np.isinf([value for value in run.values() if isinstance(value, float)]).any()
