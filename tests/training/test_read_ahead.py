import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.schedules import Constant
from lrstudy.tasks import Digits
from lrstudy.tasks.ahead import WHOLE, read_block
from lrstudy.training import lanes, loop, read_ahead
from lrstudy.training.loop import Cadence
from lrstudy.training.program import Hyperparameters, abstract_lanes, stack
from lrstudy.training.read_ahead import ReadAhead, ReadError
from lrstudy.training.sharpness import Sharpness
from tests.training.reading import ALONE, SEEDS, STEPS, ReadDigits, model, trained, transform


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(read_ahead, "MOST_STEPS", 7)


def test_batches_read_ahead_give_the_same_bits_as_those_in_memory(small_blocks):
    """Lanes of two seeds, blocks of seven steps that do not divide fifty, a stop in the middle of one."""
    kept, rows, _ = trained(Digits(batch_size=16, model=model()))
    read_lanes, read_rows, chunks = trained(ReadDigits(batch_size=16, model=model()))
    assert all(np.array_equal(rows[name], read_rows[name], equal_nan=True) for name in rows)
    jax.tree.map(np.testing.assert_array_equal, kept.state.params, read_lanes.state.params)
    assert all(chunk.start // 7 == (chunk.stop - 1) // 7 for chunk in chunks)
    half, first, _ = trained(ReadDigits(batch_size=16, model=model()), stop=24)
    done, second, _ = trained(ReadDigits(batch_size=16, model=model()), start=24, begin=half)
    jax.tree.map(np.testing.assert_array_equal, kept.state.params, done.state.params)
    assert len(first["loss"]) + len(second["loss"]) == len(rows["loss"])


def test_sharpness_looks_at_the_first_batches(small_blocks):
    sharpness = Sharpness(every=25, batches=3)
    _, rows, _ = trained(Digits(batch_size=16, model=model()), sharpness=sharpness)
    _, read_rows, _ = trained(ReadDigits(batch_size=16, model=model()), sharpness=sharpness)
    assert np.isfinite(rows["sharpness"]).sum() == 2 * len(SEEDS)
    np.testing.assert_array_equal(rows["sharpness"], read_rows["sharpness"])


def counted(seed, step, rows=WHOLE):
    return np.full((2, 3), 100 * seed + step, np.int32)[rows]


def ahead(reader=counted, steps=20, **options):
    return ReadAhead(reader, {"resident": 1}, [5, 2, 5], steps, ALONE, **options)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "read ahead"]


def test_blocks_hold_every_step_of_every_seed(small_blocks):
    source = ahead()
    for step in (0, 6, 7, 13, 14, 19, 20, 3, 19):
        data, end = source.at(step), source.end(step)
        own = min(step, 19)
        assert data.start <= own < end == data.start + 7
        assert data.resident == {"resident": 1}
        for seed in (2, 5):
            np.testing.assert_array_equal(data.at(jnp.int32(seed), jnp.int32(own)), counted(seed, own))
    source.close()
    assert not threads()


def test_worker_processes_read_the_same(small_blocks):
    source = ahead(workers=2)
    found = [source.at(step) for step in (0, 7, 14)]
    source.close()
    for data, start in zip(found, (0, 7, 14), strict=True):
        whole = read_block(None, counted, (2, 5), start, min(start + 7, 20)).batches
        np.testing.assert_array_equal(data.batches[:, : whole.shape[1]], whole)


def wait_as_a_worker(path):
    read_ahead._init_worker(0, 1)
    path.write_text(str(os.getpid()))
    time.sleep(60)


KILLED = """
import multiprocessing, os, pathlib, sys, time
from tests.training.test_read_ahead import wait_as_a_worker

if __name__ == "__main__":
    path = pathlib.Path(sys.argv[1])
    multiprocessing.get_context("spawn").Process(target=wait_as_a_worker, args=(path,)).start()
    while not path.is_file() or not path.read_text():
        time.sleep(0.05)
    os.kill(os.getpid(), 9)
"""


def test_a_worker_process_ends_with_a_training_that_was_killed(tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    root = Path(__file__).parents[2]
    line = [sys.executable, str(tmp_path / "killed.py"), str(tmp_path / "worker")]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(line, cwd=root, env=environment, check=False, timeout=60)
    assert done.returncode == -9
    worker = int((tmp_path / "worker").read_text())
    for _ in range(100):
        if not _runs(worker):
            return
        time.sleep(0.1)
    os.kill(worker, 9)
    pytest.fail("the process that reads is still there")


def _runs(process):
    """Whether a process is there and not merely waiting to be reaped by whoever inherited it."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_block_has_no_more_bytes_than_it_may(monkeypatch):
    monkeypatch.setattr(read_ahead, "BLOCK_BYTES", 24 * 2 * 5)  # two seeds' batches of 24 bytes, five steps
    source = ahead()
    assert source.slots == 5
    monkeypatch.setattr(read_ahead, "BLOCK_BYTES", 1)
    assert ahead().slots == 1


def test_a_reader_that_fails_is_told_and_may_be_asked_again(small_blocks):
    failing = [True]

    def reader(seed, step, rows=WHOLE):
        if step == 9 and failing[0]:
            raise ValueError("shard 3 is gone")
        return counted(seed, step, rows)

    source = ahead(reader)
    source.at(0)
    with pytest.raises(ReadError, match=r"batches could not be read: .*shard 3 is gone"):
        source.at(7)
    failing[0] = False
    source.close()
    assert source.at(7).start == 7
    source.close()


def test_what_reads_ends_with_the_training(small_blocks):
    task = ReadDigits(batch_size=16, model=model())
    runs = [Hyperparameters(Constant(0.1), task, {}, None, 0, STEPS)]
    stacked = stack(runs)
    job = lanes.make_job(stacked, task, transform, Cadence((STEPS,)), ALONE)
    chunks = loop.train(job, ALONE.empty(abstract_lanes(stacked, transform)), start=0, stop=STEPS)
    next(chunks)
    assert threads()
    chunks.close()
    assert not threads()


def test_no_more_blocks_are_read_than_are_soon_needed(small_blocks):
    """One on the device, one ready, one that waits to be put there; grain's own threads are a buffer further."""
    asked = []

    def reader(seed, step, rows=WHOLE):
        asked.append(step)
        return counted(seed, step, rows)

    source = ReadAhead(reader, None, [0], 10_000, ALONE)
    source.at(0)
    settled = -1
    while settled != len(asked):
        settled = len(asked)
        threading.Event().wait(0.3)
    source.close()
    assert max(asked) < 4 * 7 + 3 * grain.ReadOptions().num_threads
