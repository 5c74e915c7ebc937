import json
import re

import numpy as np
import pytest

from lrstudy.benchmark import targets
from lrstudy.benchmark.space import points_of
from lrstudy.benchmark.targets import algorithms, main, other_data, read, shipped, target_of
from lrstudy.benchmark.workload import TABLE, workload
from tests.benchmark.problems import bowl

KEYS = {
    "target", "algorithm", "hyperparameters", "values", "algorithms", "points", "first_seed", "steps", "definition",
    "facts", "command", "date", "versions",
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the command writes for one workload, into a file that holds another's."""
    path = tmp_path_factory.mktemp("targets") / "targets.json"
    path.write_text(json.dumps({"pit": {"target": 3.0}}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(targets, "workload", {"bowl": bowl(40)}.__getitem__)
        arguments = ["--workloads=bowl", "--points=2", "--seeds=3", "--first_seed=7", f"--output={path}"]
        assert main(arguments) == 0
    return path, read(path)


def test_the_target_is_the_median_of_the_best_trained_again(made):
    entry = made[1]["bowl"]
    assert set(entry) == KEYS
    assert entry["target"] == np.median(entry["values"])
    # There is no noise, so every seed comes to the same.
    assert entry["values"] == [entry["target"]] * 3
    assert (entry["points"], entry["first_seed"], entry["steps"]) == (2, 7, 30)
    assert entry["algorithms"] == [one.name for one in algorithms()]
    assert entry["algorithm"] in entry["algorithms"]
    assert "--first_seed=7" in entry["command"]


def test_other_targets_of_the_file_are_kept(made):
    path, found = made
    assert set(found) == {"bowl", "pit"}
    assert [other.name for other in path.parent.iterdir()] == ["targets.json"]


def test_a_target_belongs_to_a_definition(made):
    found = made[1]
    assert target_of(bowl(40), found) == found["bowl"]["target"]
    assert not other_data(bowl(40), found)
    with pytest.raises(
        ValueError, match=r"^workload must be defined as its target was set, got another 'bowl': set it"
    ):
        target_of(bowl(80), found)
    with pytest.raises(ValueError, match=r"^workload must be one of \['pit'\], which have targets, got 'bowl': set it"):
        target_of(bowl(40), {"pit": {}})


def test_the_algorithms_are_those_that_made_the_targets():
    names = ["adamw", "adam", "nesterov", "heavy_ball"]
    assert [one.name for one in algorithms()] == names
    assert all(entry["algorithms"] == names for entry in shipped().values())
    assert [one.origin["hyperparameters"].get("nesterov") for one in algorithms()[2:]] == [True, False]


def test_the_targets_that_come_along_belong_to_the_workloads_as_they_are():
    names = [one.name for base in TABLE.values() for one in (base, *base.held_out())]
    assert set(shipped()) == set(names)
    for one, entry in ((workload(name), entry) for name, entry in shipped().items()):
        assert set(entry) == KEYS
        assert target_of(one) == entry["target"] == np.median(entry["values"])
        assert len(entry["values"]) >= 10
        assert entry["steps"] == 0.75 * one.step_hint
        assert entry["first_seed"] >= 1501
        # The best is one of the points that were drawn.
        name = entry["algorithm"]
        space = targets._SPACES["momentum" if name in ("nesterov", "heavy_ball") else name]
        drawn = points_of(space, entry["points"], seed=entry["first_seed"])
        assert entry["hyperparameters"] in [pytest.approx(point, rel=1e-12) for point in drawn]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workloads=txt"], r"error: workload must be one of .* \(nearest: 'text'\), got 'txt'"),
        (["--workloads=quadratic", "--points=0"], r"error: points must be a positive int, got 0"),
        (["--workloads=quadratic", "--seeds=0"], r"error: seeds must be a positive int, got 0"),
    ],
)
def test_a_bad_command_is_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(message, printed.err.strip())


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    path = tmp_path / "targets.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"^targets must be a file that this command wrote, got '.*targets\.json'"):
        read(path)
