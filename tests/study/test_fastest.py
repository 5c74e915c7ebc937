import json

import jax
import pytest

from lrstudy.study import fastest as fastest_lib
from lrstudy.study import records, trainer
from lrstudy.study.fastest import chosen, fastest, shape_of
from lrstudy.study.machine import cache_folder
from lrstudy.study.plan import make_plan
from lrstudy.study.workdir import Workdir
from lrstudy.training.layout import Layout
from tests.study.studies import launch, parts

MAP, VMAP = Layout("map"), Layout("vmap")


@pytest.fixture
def group(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make_plan(parts()).groups[0]


@pytest.fixture
def timed(monkeypatch):
    """Seconds a step by the layout's name; which were measured."""
    seconds, asked = {"map": 2.0, "vmap": 1.0}, []

    def timer(name, lanes):
        del lanes
        asked.append(name)
        return lambda: seconds[name]

    monkeypatch.setattr(fastest_lib, "_timer", timer)
    return seconds, asked


def prepare(layout):
    return layout.name, None


def test_a_small_group_trains_as_the_rule_says_and_is_not_measured(group, timed):
    assert chosen(group, (MAP, VMAP), prepare) is MAP
    assert not timed[1]


def test_a_large_group_is_measured_once_for_its_shape(group, timed, monkeypatch):
    monkeypatch.setattr(fastest_lib, "WORTH_FLOPS", 0)
    assert chosen(group, (MAP, VMAP), prepare) is VMAP
    assert chosen(group, (MAP, VMAP), prepare) is VMAP
    assert timed[1] == ["map", "vmap"]
    other = make_plan(parts(seeds=range(5))).groups[0]
    assert shape_of(other) != shape_of(group)
    assert shape_of(make_plan(parts(peaks=(0.1, 0.2, 0.3))).groups[0]) == shape_of(group)
    chosen(other, (MAP, VMAP), prepare)
    assert len(timed[1]) == 4
    assert set(json.loads((cache_folder() / "layouts.json").read_text()).values()) == {"vmap"}


@pytest.mark.parametrize("damage", ["", "[1]", '{"x": ', "\udcff"])
def test_a_damaged_memory_is_measured_again(group, timed, monkeypatch, damage):
    monkeypatch.setattr(fastest_lib, "WORTH_FLOPS", 0)
    path = cache_folder() / "layouts.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(damage.encode(errors="surrogateescape"))
    assert chosen(group, (MAP, VMAP), prepare) is VMAP
    assert json.loads(path.read_text())


def test_noise_does_not_decide(timed):
    timed[0]["vmap"] = 1.95
    assert fastest({"map": MAP, "vmap": VMAP}, prepare) == "map"
    timed[0]["vmap"] = 1.85
    assert fastest({"map": MAP, "vmap": VMAP}, prepare) == "vmap"


def test_a_layout_without_memory_is_none(timed):
    def short(layout):
        if layout is MAP:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED")
        return prepare(layout)

    assert fastest({"map": MAP, "vmap": VMAP}, short) == "vmap"


def test_a_group_goes_on_as_it_began(group, tmp_path):
    root = tmp_path / "study"
    launch(root, executor="vmap")
    notes = [json.loads(path.read_text())["layout"] for path in (root / "groups").glob("*.json")]
    assert set(notes) == {"vmap"}


def test_a_study_that_measures_records_what_one_that_does_not_records(group, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "layouts_of", lambda *_, **__: (MAP,))
    launch(tmp_path / "plain")
    monkeypatch.setattr(trainer, "layouts_of", lambda *_, **__: (MAP, Layout("map", accumulate=1)))
    monkeypatch.setattr(fastest_lib, "WORTH_FLOPS", 0)
    launch(tmp_path / "measured")
    assert list(json.loads((cache_folder() / "layouts.json").read_text()).values()) == ["map", "map"]
    plain, measured = (records.load(Workdir(tmp_path / name)).metrics for name in ("plain", "measured"))
    assert plain.equals(measured)
