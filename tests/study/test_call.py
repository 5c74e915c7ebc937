import json
import signal

import numpy as np
import pytest

from experiments.sweep import EXPERIMENT
from lrstudy.study import records as records_lib
from lrstudy.study import trainer
from lrstudy.study.call import run_study
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.exit_codes import OK
from lrstudy.study.experiment import Experiment, Figure
from lrstudy.study.part import Part
from lrstudy.study.views import curves_figure
from lrstudy.study.workdir import Workdir
from tests.study import staged
from tests.study.studies import BASE
from tests.study.test_main import sweep

FLAGS = (
    "--preset=smoke",
    "--config.task=quadratic",
    "--config.optimizer=sgd",
    "--config.schedule=Constant",
    "--config.clip_norm=none",
    "--config.evaluate_every=0",
    "--sweep.schedule.peak=0.01,0.02",
    "--sweep.seed=1,2",
    "--executor=map",
)


@pytest.fixture(scope="module")
def called(tmp_path_factory):
    root = tmp_path_factory.mktemp("called")
    return run_study(EXPERIMENT, *FLAGS, workdir=root, quiet=True)


def test_the_folder_is_that_of_the_command_line(called, tmp_path):
    done = sweep(tmp_path, *FLAGS)
    assert done.returncode == OK, done.stderr
    commanded = records_lib.load(Workdir(tmp_path))
    assert called.records.runs.equals(commanded.runs)
    assert called.records.parts == commanded.parts
    rows = [one.metrics.sort_values(["run_id", "step"]) for one in (called.records, commanded)]
    for metric in ("step", "loss", "learning_rate"):
        np.testing.assert_array_equal(rows[0][metric], rows[1][metric])
    names = [{path.name for path in root.iterdir()} for root in (called.workdir, tmp_path)]
    assert names[0] == names[1]
    ours, theirs = (json.loads((root / "config.json").read_text()) for root in (called.workdir, tmp_path))
    assert ours["config"] == theirs["config"]
    line = f"python -m experiments.sweep {' '.join(FLAGS)} --workdir={called.workdir}"
    assert ours["command"].replace("'", "") == line


def test_a_second_call_trains_nothing_and_a_longer_one_what_is_new(called, monkeypatch):
    trained = []
    original = trainer.GroupTrainer.train
    monkeypatch.setattr(
        trainer.GroupTrainer, "train", lambda self, *a: trained.append(self._group) or original(self, *a)
    )
    again = run_study(EXPERIMENT, *FLAGS, workdir=called.workdir, quiet=True)
    assert again.records.runs.equals(called.records.runs)
    assert not trained
    longer = [flag.replace("0.01,0.02", "0.01,0.02,0.04") for flag in FLAGS]
    grown = run_study(EXPERIMENT, *longer, workdir=called.workdir, quiet=True)
    assert [len(group.runs) for group in trained] == [2]
    assert len(grown.records.runs) == 6


def test_it_says_what_the_command_says_unless_it_is_quiet(tmp_path, capfd):
    run_study(EXPERIMENT, *FLAGS, workdir=tmp_path / "quiet", quiet=True)
    assert capfd.readouterr() == ("", "")
    run_study(EXPERIMENT, *FLAGS, workdir=tmp_path / "loud")
    assert "steps/s" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.scheduel.peak=1"], "Did you mean"),
        (["--preset=huge"], "preset must be"),
        (["--config.steps=many"], "an int is needed"),
        (["--workdir=elsewhere"], "workdir"),
        (["steps"], "unexpected argument 'steps'"),
    ],
)
def test_a_bad_flag_is_one_line(flags, message, tmp_path):
    with pytest.raises(ConfigError, match=message) as error:
        run_study(EXPERIMENT, *flags, workdir=tmp_path / "new")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "new").exists()


def test_data_that_are_not_prepared_are_refused_before_anything_is_planned_there(tmp_path):
    flags = ("--preset=smoke", "--config.task=tfds", "--config.task.name=lm1b", f"--config.task.data_dir={tmp_path}")
    with pytest.raises(ConfigError, match=r"^task\.name must be a prepared data set, got 'lm1b'"):
        run_study(EXPERIMENT, *flags, workdir=tmp_path / "new")
    assert not (tmp_path / "new" / "plan.json").exists()


def test_the_folder_of_another_study_is_refused(called):
    with pytest.raises(ConfigError, match="workdir must be empty or hold staged"):
        run_study(staged.EXPERIMENT, workdir=called.workdir, quiet=True)


def test_claims_and_what_follows_from_records_come_with_it(tmp_path):
    found = run_study(staged.EXPERIMENT, workdir=tmp_path, quiet=True)
    assert set(found.records.parts) == set(staged.EXPERIMENT.presets["cpu"]())
    table = found.claims_table()
    assert list(table.index) == [claim.claim_id for claim in staged.EXPERIMENT.claims]
    for entry in found.claims:
        row = table.loc[entry["id"]]
        assert row["measured"] == entry["measured"]
        assert row["threshold"] == f"{entry['comparison']} {entry['threshold']:.4g}"
        assert row["holds"].startswith("yes" if entry["holds"] else "NO")


def test_an_interrupt_saves_and_the_same_call_goes_on(tmp_path, called, monkeypatch):
    original = trainer.Progress.update

    def interrupt(self, chunk):
        signal.raise_signal(signal.SIGINT)
        original(self, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Progress, "update", interrupt)
        with pytest.raises(KeyboardInterrupt, match="the same call goes on from there"):
            run_study(EXPERIMENT, *FLAGS, "--config.steps=400", workdir=tmp_path, quiet=True)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    found = run_study(EXPERIMENT, *FLAGS, "--config.steps=400", workdir=tmp_path, quiet=True)
    assert (found.records.runs["outcome"] == "ok").all()


def test_a_program_that_fails_is_an_error(tmp_path, monkeypatch):
    import jax

    def fail(self, *_):
        raise jax.errors.JaxRuntimeError("out of memory")

    monkeypatch.setattr(trainer.GroupTrainer, "train", fail)
    with pytest.raises(StudyError, match="runs failed: out of memory"):
        run_study(EXPERIMENT, *FLAGS, workdir=tmp_path, quiet=True)


def two_parts():
    part = Part(BASE)
    figures = (Figure("a", "", ("one",), curves_figure), Figure("b", "", ("one", "two"), curves_figure))
    return Experiment(
        name="two", title="", question="", presets={"cpu": lambda: {"one": part, "two": part}}, figures=figures,
        aliases={"own": "two.steps", "other": "one.steps"},
    )  # fmt: skip


def test_an_experiment_of_some_parts_has_what_these_need():
    some = two_parts().only("one")
    assert list(some.presets["cpu"]()) == ["one"]
    assert [figure.name for figure in some.figures] == ["a"]
    assert some.aliases == {"other": "one.steps"}
    with pytest.raises(ConfigError, match=r"a part must be one of .*, got 'three'"):
        two_parts().only("three").presets["cpu"]()


def test_a_part_is_not_left_without_what_it_follows_from():
    parts = staged.EXPERIMENT.presets["cpu"]()
    name, source = next((n, p.sources[0]) for n, p in parts.items() if hasattr(p, "sources"))
    with pytest.raises(ConfigError, match=f"parts must hold {source}, which {name} follows from"):
        staged.EXPERIMENT.only(name).presets["cpu"]()
