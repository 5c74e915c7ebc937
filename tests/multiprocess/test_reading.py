"""Two processes that train together read a data set too large for memory: each its own share of every batch."""

import numpy as np
import pandas as pd
import pytest

from tests.multiprocess.test_two_processes import ended, rows, together
from tests.tasks.tfds.made import text_set

# Notes which rows of a batch each process reads, then runs the command.
NOTES = """
import os, runpy
from lrstudy.tasks.tfds import feeding
read = feeding.BatchReader.__call__
def noted(self, seed, step, rows=slice(None)):
    found = read(self, seed, step, rows)
    with open(os.environ["NOTES"] + f"-{os.getpid()}", "a") as file:
        print(step, rows.start, rows.stop, len(found), file=file)
    return found
feeding.BatchReader.__call__ = noted
runpy.run_module("experiments.sweep", run_name="__main__", alter_sys=True)
"""
BATCH, STEPS = 8, 60


def study(data_dir, how):
    return [
        "--config.task=tfds",
        "--config.task.name=made_texts",
        f"--config.task.data_dir={data_dir}",
        f"--config.task.input={how}",
        "--config.task.context=8",
        f"--config.task.batch_size={BATCH}",
        "--config.model.width=8",
        "--config.model.layers=1",
        f"--config.steps={STEPS}",
        "--config.evaluate_every=20",
        "--sweep.schedule.peak=0.1",
        "--sweep.seed=1,2",
        "--data_devices=4",
    ]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    text_set(folder, count=200)
    return folder


def by_losses(workdir):
    return rows(workdir).drop(columns="run_id").sort_values(["step", "loss"], ignore_index=True)


def test_each_reads_its_share_and_the_numbers_are_those_of_data_in_memory(data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    monkeypatch.setattr("tests.multiprocess.test_two_processes.STUDY", ["--preset=smoke"])
    memory, stream = tmp_path / "memory", tmp_path / "stream"
    assert [code for code, *_ in ended(together(memory, *study(data_dir, "memory")))] == [0, 0]
    found = ended(together(stream, *study(data_dir, "stream"), begin=("-c", NOTES)))
    assert [code for code, *_ in found] == [0, 0], found
    pd.testing.assert_frame_equal(by_losses(stream), by_losses(memory), check_exact=True)
    shares = []
    for path in tmp_path.glob("notes-*"):
        noted = pd.read_csv(path, sep=" ", names=["step", "start", "stop", "read"], dtype=str, keep_default_na=False)
        # The first batch is read whole, for its size, and so is what a measurement would look at.
        ahead = noted[noted["start"] != "None"].astype(int)
        assert (ahead["read"] == BATCH // 2).all()
        assert set(ahead["step"]) == set(range(STEPS))
        assert set(noted[noted["start"] == "None"]["step"].astype(int)) == {0}
        shares.append({*zip(ahead["start"], ahead["stop"], strict=True)})
    assert sorted(shares, key=min) == [{(0, BATCH // 2)}, {(BATCH // 2, BATCH)}]
    assert np.isfinite(by_losses(stream)["loss"]).all()
