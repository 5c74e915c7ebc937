import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from lrstudy.study import records as records_lib
from lrstudy.study.derived import Derived, plan_ready, static_parts
from lrstudy.study.errors import StudyError
from lrstudy.study.run import conclude
from lrstudy.study.store import read_table, write_table
from lrstudy.study.workdir import Workdir
from tests.study.staged import EXPERIMENT, PARTS, best_peak
from tests.study.studies import HEADER, launch
from tests.study.test_main import command

SOURCES = static_parts(PARTS)


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A folder in which the source is finished."""
    root = tmp_path_factory.mktemp("derived") / "run"
    launch(root, SOURCES)
    return root


def test_a_derived_part_waits_for_its_sources(tmp_path):
    plan, waiting = plan_ready(PARTS, Workdir(tmp_path))
    assert list(plan.parts) == ["tuning"]
    assert waiting == {"deciding": "it waits for tuning: 6 runs are not finished"}


def test_a_derived_part_follows_from_the_records_of_its_sources(tuned):
    plan, waiting = plan_ready(PARTS, Workdir(tuned))
    assert waiting == {}
    assert list(plan.parts) == ["tuning", "deciding"]
    peak = best_peak(records_lib.load(Workdir(tuned)))
    runs = plan.runs()
    found = [(runs[i].columns["schedule.peak"], runs[i].columns["seed"]) for i in plan.parts["deciding"]]
    assert found == [(peak, 7), (peak, 8)]


def test_a_table_that_was_written_while_a_source_trained_is_not_read(tuned, tmp_path):
    """Tasks write it as they end, and what they saw of each other may be older than what the folder holds."""
    root = Path(shutil.copytree(tuned, tmp_path / "run"))
    runs = read_table(root / "runs.parquet")
    write_table(root / "runs.parquet", runs.assign(outcome=[*runs["outcome"][:-1], "preempted"]))
    plan, waiting = plan_ready(PARTS, Workdir(root))
    assert list(plan.parts) == ["tuning"]
    assert "1 runs are not finished" in waiting["deciding"]


def test_a_grown_source_makes_its_part_wait_again(tuned):
    grown = {
        **PARTS,
        "tuning": dataclasses.replace(PARTS["tuning"], base=dataclasses.replace(PARTS["tuning"].base, steps=24)),
    }
    plan, waiting = plan_ready(grown, Workdir(tuned))
    assert list(plan.parts) == ["tuning"]
    assert "6 runs are not finished" in waiting["deciding"]


def test_a_part_that_cannot_be_made_is_named_and_the_rest_stands(tuned):
    def refused(records):
        raise StudyError("every run diverged")

    parts = {**PARTS, "refused": Derived(("tuning",), refused), "orphan": Derived(("refused",), refused)}
    plan, waiting = plan_ready(parts, Workdir(tuned))
    assert list(plan.parts) == ["tuning", "deciding"]
    assert waiting["refused"] == "every run diverged"
    assert "part refused is not there" in waiting["orphan"]


def test_a_claim_about_a_part_that_was_never_planned_does_not_hold(tuned, capsys):
    entries = {entry["id"]: entry for entry in conclude(EXPERIMENT, Workdir(tuned), HEADER)}
    assert entries["t1"]["holds"]
    assert not entries["d1"]["holds"]
    assert entries["d1"]["measured"] is None
    assert "claim d1 could not be measured: part deciding is not there" in capsys.readouterr().err


def test_one_command_trains_both_stages_and_a_second_one_nothing(tmp_path):
    first = command("tests.study.staged", f"--workdir={tmp_path / 'run'}")
    assert first.returncode == 0, first.stderr
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert [len(plan["parts"][name]) for name in PARTS] == [6, 2]
    assert plan["concluded"]
    for claim in EXPERIMENT.claims:  # once when its part is finished, once in the end
        assert first.stdout.count(f"\n{claim.claim_id} ") == 2
    before = (tmp_path / "run" / "plan.json").stat().st_mtime_ns
    again = command("tests.study.staged", f"--workdir={tmp_path / 'run'}")
    runs = sum(len(group["lanes"]) for group in plan["groups"])  # with the trunks that nobody asked for
    assert again.stdout.startswith(f"nothing to do: all {runs} runs are finished")
    assert (tmp_path / "run" / "plan.json").stat().st_mtime_ns == before


def test_a_dry_run_says_what_follows_later(tmp_path):
    done = command("tests.study.staged", "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "part deciding follows from what is found and is planned then" in done.stdout
