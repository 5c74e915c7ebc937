"""Processes that work on one folder at the same time, or one after the other."""

import contextlib

import pandas as pd
import pytest
from absl import flags

from experiments.sweep import EXPERIMENT
from lrstudy.study import derived, main
from lrstudy.study import run as run_lib
from lrstudy.study.command import parse, read_command
from lrstudy.study.exit_codes import OK
from lrstudy.study.plan import make_plan
from lrstudy.study.workdir import Workdir, read_json, write_json

STUDY = (
    "--preset=smoke",
    "--config.task=quadratic",
    "--config.schedule=Constant",
    "--config.steps=4",
    "--config.record_every=1",
    "--config.evaluate_every=0",
    "--sweep.optimizer=sgd,momentum",
    "--sweep.schedule.peak=0.01,0.02",
)


@contextlib.contextmanager
def commanded(monkeypatch, *arguments):
    """The command of a command line, whose flags are those of this process meanwhile."""
    values = flags.FlagValues()
    main.define_common_flags(values)
    parse(EXPERIMENT, ["sweep", *STUDY, *arguments], values)
    with monkeypatch.context() as own:
        own.setattr(main, "FLAGS", values)
        own.setattr(main, "use_compilation_cache", lambda: None)
        yield read_command(EXPERIMENT, values)


def trained(monkeypatch, workdir, share):
    """A share, trained and concluded in this process."""
    with commanded(monkeypatch, f"--shard={share}") as command, workdir.locked(main._shard(share)):
        return main._train(EXPERIMENT, command, workdir)


def test_a_share_whose_table_is_older_than_the_end_of_another_concludes_with_both(tmp_path, monkeypatch):
    """The other ends, and concludes, between what this one reads for its table of runs and the table's writing."""
    workdir, write, tables = Workdir(tmp_path), run_lib.write_table, []

    def late(path, frame):
        tables.append(frame)
        if len(tables) == 2:
            assert trained(monkeypatch, workdir, "2/2") == OK
            runs = pd.read_parquet(workdir.runs)
            assert runs["outcome"].tolist() == ["ok"] * 4
        write(path, frame)

    monkeypatch.setattr(run_lib, "write_table", late)
    assert trained(monkeypatch, workdir, "1/2") == OK
    assert len(tables[1]) == 2
    assert read_json(workdir.plan)["concluded"]
    runs = pd.read_parquet(workdir.runs)
    assert runs["outcome"].tolist() == ["ok"] * 4
    assert workdir.report.read_text().count("sgd") > 0


@pytest.mark.parametrize(("between", "plans"), [(False, 1), (True, 2)])
def test_a_command_plans_again_only_if_the_folder_has_changed_before_it_was_locked(
    tmp_path, monkeypatch, capsys, between, plans
):
    workdir, check, made = Workdir(tmp_path / "study"), main.check_apart, []
    with commanded(monkeypatch, f"--workdir={workdir.root}") as command:
        assert main._study(EXPERIMENT, command) == OK

        def checked(plan, folder):
            check(plan, folder)
            for path in list(workdir.groups.iterdir()) if between else ():
                write_json(path, read_json(path), indent=None)

        def planned(*arguments):
            made.append(arguments)
            return make_plan(*arguments)

        monkeypatch.setattr(main, "check_apart", checked)
        monkeypatch.setattr(derived, "make_plan", planned)
        capsys.readouterr()
        assert main._study(EXPERIMENT, command) == OK
    assert "nothing to do: all 4 runs are finished" in capsys.readouterr().out
    assert len(made) == plans
