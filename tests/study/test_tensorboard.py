"""Event files beside records, read back as TensorBoard reads them."""

import dataclasses
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorboardX")

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
from tensorboardX.record_writer import masked_crc32c

from lrstudy.study import event_files, tensorboard
from lrstudy.study.errors import ConfigError
from lrstudy.study.standing import flat
from lrstudy.study.store import finished_runs, read_rows
from lrstudy.study.tensorboard import FOLDER, EventFiles, follower
from lrstudy.study.workdir import Workdir, read_json
from lrstudy.training import processes
from tests.study.studies import launch

ROOT = Path(__file__).parents[2]


class KilledError(Exception):
    pass


@dataclasses.dataclass
class Read:
    """What the event file of one folder says."""

    scalars: dict
    finals: dict
    about: dict
    first: list


def events(path):
    """The events of a file whose checksums hold; a record that was cut short ends it."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        head = data[at : at + 8]
        (size,), body = struct.unpack("<Q", head), data[at + 12 :]
        assert struct.unpack("<I", data[at + 8 : at + 12])[0] == masked_crc32c(head)
        body, crc = body[:size], body[size : size + 4]
        assert struct.unpack("<I", crc)[0] == masked_crc32c(body)
        yield Event.FromString(body)
        at += 16 + size


def read(folder):
    (path,) = folder.glob("*tfevents*")
    found = Read({}, {}, {}, [])
    for event in events(path):
        found.first.append(event)
        for value in event.summary.value:
            if value.tag.startswith("_hparams_/"):
                found.about[value.tag] = HParamsPluginData.FromString(value.metadata.plugin_data.content)
                continue
            part = found.finals if value.tag.startswith("final/") else found.scalars
            assert (event.step, value.tag) not in part, "a step was written twice"
            part[event.step, value.tag] = np.float32(value.simple_value)
    return found


def check_rows(root, *, finished=True):
    """Every scalar is a cell of the records, bit for bit, and every cell a scalar."""
    workdir = Workdir(root)
    plan = read_json(workdir.plan)
    for group in plan["groups"]:
        rows = read_rows(workdir, [group["group"]])
        for run_id, own in rows.groupby("run_id"):
            found = read(root / FOLDER / run_id)
            cells = own.drop(columns="run_id").melt("step").dropna()
            expected = {(s, n): np.float32(v) for s, n, v in cells.itertuples(index=False, name=None)}
            assert found.scalars == expected
            assert ("_hparams_/session_end_info" in found.about) == finished
    return plan


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    root = tmp_path_factory.mktemp("followed")
    launch(root, checkpoint_seconds=0.0, recorded=follower(Workdir(root)))
    return root


def test_scalars_are_the_rows(followed):
    plan = check_rows(followed)
    ids = {lane["run_id"] for group in plan["groups"] for lane in group["lanes"]}
    assert {path.name for path in (followed / FOLDER).iterdir() if path.is_dir()} == ids


def test_a_run_has_its_hyperparameters_and_final_metrics(followed):
    workdir = Workdir(followed)
    configs = {
        run_id: flat(config)
        for group in workdir.begun.all().values()
        for run_id, config in zip(group["runs"], group["configs"], strict=True)
    }
    trunks = read_json(workdir.plan)["trunks"]
    assert trunks
    for run_id, (_, entry) in finished_runs(workdir).items():
        found = read(followed / FOLDER / run_id)
        # A trunk that nobody asked for is no trial.
        assert ("_hparams_/session_start_info" in found.about) == (run_id not in trunks)
        if run_id in trunks:
            continue
        start = found.about["_hparams_/session_start_info"].session_start_info
        leaves = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
        assert leaves == configs[run_id]
        assert found.about["_hparams_/session_end_info"].session_end_info.status == 1
        finals = {(entry["updates"], f"final/{name}"): np.float32(value) for name, value in entry["metrics"].items()}
        assert found.finals == finals
        assert found.first[0].file_version == "brain.Event:2"
        assert found.first[1].session_log.status == SessionLog.START


def test_the_study_says_what_varies_and_what_is_measured(followed):
    about = read(followed / FOLDER).about["_hparams_/experiment"].experiment
    assert {(info.name, info.type) for info in about.hparam_infos} == {("schedule.peak", 3), ("seed", 3)}
    tags = {info.name.tag for info in about.metric_infos}
    assert about.metric_infos[0].name.tag == "final/excess"  # what the task is judged by
    assert {"final/loss", "final/excess"} <= tags
    assert tags == {tag for _, tag in read(next(p for p in (followed / FOLDER).iterdir() if p.is_dir())).finals}


def test_it_is_written_as_it_is_recorded_and_no_step_twice_after_a_kill(tmp_path):
    """The kill falls between a write of rows and the checkpoint after it: those rows are made again."""
    workdir, seen = Workdir(tmp_path), []
    follow = follower(workdir)

    def recorded(group_id=None):
        follow(group_id)
        seen.append(len(list(workdir.metrics.glob("*"))))
        # How many steps a call makes depends on the machine, and some record none.
        if seen[-1] == 3:
            raise KilledError

    with pytest.raises(KilledError):
        launch(tmp_path, checkpoint_seconds=0.0, recorded=recorded)
    assert sorted(set(seen)) == [0, 1, 2, 3]
    assert not finished_runs(workdir)
    check_rows(tmp_path, finished=False)
    before = set((tmp_path / FOLDER).rglob("*tfevents*"))
    # What a kill in the middle of a write leaves.
    torn = next(iter(before))
    torn.write_bytes(torn.read_bytes()[:-3])
    launch(tmp_path, begun=None, checkpoint_seconds=0.0, recorded=follower(workdir))
    check_rows(tmp_path)
    assert not before & set((tmp_path / FOLDER).rglob("*tfevents*"))


def test_a_finished_folder_is_exported_once(tmp_path, followed, capsys):
    launch(tmp_path)
    assert not (tmp_path / FOLDER).exists()
    capsys.readouterr()
    assert tensorboard.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"tensorboard --logdir={tmp_path / FOLDER}\n"
    check_rows(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / FOLDER).rglob("*/*tfevents*")}
    assert tensorboard.main([str(tmp_path)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / FOLDER).rglob("*/*tfevents*")}
    # Live or afterwards, a run's file holds the same.
    run_id = next(iter(finished_runs(Workdir(followed))))
    assert read(tmp_path / FOLDER / run_id).scalars == read(followed / FOLDER / run_id).scalars


def test_of_processes_that_train_together_the_first_writes(tmp_path, monkeypatch):
    launch(tmp_path)
    monkeypatch.setattr(tensorboard, "process", lambda: processes.Process(1, 2))
    follower(Workdir(tmp_path))()
    assert not (tmp_path / FOLDER).exists()
    monkeypatch.setattr(tensorboard, "process", lambda: processes.Process(0, 2))
    follower(Workdir(tmp_path))()
    check_rows(tmp_path)


def test_a_run_that_diverged_is_marked_and_what_was_not_measured_is_left_out():
    columns = {"loss": np.float32([1.5, np.inf]), "excess": np.float32([np.nan, 2.0])}
    found = [{v.tag: v.simple_value for v in e.summary.value} for e in event_files.scalars(columns, [0, 10], 0.0)]
    assert found == [{"loss": 1.5}, {"loss": np.inf, "excess": 2.0}]
    *_, ended = event_files.session_end({"loss": 1.5}, 10, "diverged", 0.0)
    content = ended.summary.value[0].metadata.plugin_data.content
    assert HParamsPluginData.FromString(content).session_end_info.status == 2


def test_without_the_library_nothing_is_trained(tmp_path):
    block = tmp_path / "hidden" / "tensorboardX.py"
    block.parent.mkdir()
    block.write_text("raise ImportError")
    flags = ["--preset=smoke", "--config.task=bigram", "--config.optimizer=sgd", f"--workdir={tmp_path / 'run'}"]
    environment = {**os.environ, "PYTHONPATH": f"{block.parent}:{ROOT}"}
    again = [sys.executable, "-m", "experiments.sweep", *flags, "--tensorboard"]
    done = subprocess.run(again, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "error: tensorboard needs tensorboardX: pip install 'lrstudy[tensorboard]'\n"
    assert not (tmp_path / "run").exists()


def test_the_library_is_imported_by_those_who_ask_for_it(monkeypatch):
    code = "import sys, lrstudy.study.main, lrstudy.study.run, lrstudy.study.tensorboard; "
    code += "print([name for name in sys.modules if name.startswith('tensorboardX')])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ConfigError, match="pip install"):
        follower(Workdir(Path()))


def test_a_command_line_asks_for_them(tmp_path):
    flags = ["--preset=smoke", "--config.task=bigram", "--config.optimizer=sgd", f"--workdir={tmp_path}"]
    again = [sys.executable, "-m", "experiments.sweep", *flags, "--config.schedule=Constant", "--tensorboard"]
    done = subprocess.run(again, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    check_rows(tmp_path)


def test_nothing_is_done_for_a_folder_without_records(tmp_path):
    EventFiles(Workdir(tmp_path)).update()
    assert not list(tmp_path.iterdir())
