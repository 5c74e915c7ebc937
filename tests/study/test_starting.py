import dataclasses
import os

import jax
import pytest
from absl import flags

from lrstudy.study.choices import choice
from lrstudy.study.errors import ConfigError
from lrstudy.study.machine import cores
from lrstudy.study.main import check_parts
from lrstudy.study.plan import make_plan
from lrstudy.study.starting import define_device_flags, says_peer_is_gone, start
from tests.study.studies import BASE, parts

SHARED = {"data_devices": 1, "zero_stage": 0, "accumulate": 1}


def started(*given):
    values = flags.FlagValues()
    define_device_flags(values)
    values(["program", *given])
    start(values)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--num_processes=2"], "num_processes needs --coordinator"),
        (["--process_id=0"], "process_id needs --coordinator"),
        (["--coordinator=localhost:1"], "--num_processes=n and --process_id=k with 0 <= k < n"),
        (["--coordinator=localhost:1", "--num_processes=2", "--process_id=2"], "got --num_processes=2 --process_id=2"),
        (["--coordinator=localhost:1", "--num_processes=2", "--process_id=-1"], "0 <= k < n"),
        (["--coordinator=localhost:1", "--heartbeat_seconds=0"], "heartbeat_seconds must be at least 1, got 0"),
        (["--host_devices=0"], "host_devices must be at least 1, got 0"),
    ],
)
def test_flags_that_contradict_each_other_are_one_line(given, words):
    with pytest.raises(ConfigError, match=words) as caught:
        started(*given)
    assert "\n" not in str(caught.value)


def test_there_are_no_fewer_processes_that_read_than_none():
    with pytest.raises(flags.IllegalFlagValueError, match="read_workers=-1: -1 is not a non-negative integer"):
        started("--read_workers=-1")


@pytest.mark.parametrize(
    ("executor", "shared", "words"),
    [
        ("auto", {"data_devices": 2}, "data_devices must be at most the number of the 1 devices, got 2"),
        ("auto", {"data_devices": 0}, "data_devices must be at least 1, got 0"),
        ("auto", {"zero_stage": 4}, "zero_stage must be one of"),
        ("auto", {"zero_stage": 1}, "zero_stage needs devices that share a batch"),
        ("auto", {"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ("map", {"accumulate": 7}, "batch size must be a multiple of the 7 parts, 1 devices x 7 micro-batches: "),
    ],
)
def test_devices_and_parts_that_there_are_not_are_refused_before_anything_trains(executor, shared, words):
    plan = make_plan(parts(base=BASE))
    with pytest.raises(ConfigError, match=words):
        check_parts(plan, executor, **{**SHARED, **shared})


def test_one_device_and_whole_batches_suit_every_task():
    check_parts(make_plan(parts(base=BASE)), "auto", **SHARED)


def test_a_landscape_has_no_examples_to_deal_out():
    river = dataclasses.replace(BASE, task=choice("task", "river"))
    with pytest.raises(ConfigError, match="a task whose loss is a mean over examples, got CurvedRiver"):
        check_parts(make_plan(parts(base=river)), "map", **{**SHARED, "accumulate": 2})


def test_only_what_a_collective_raises_says_that_a_peer_is_gone():
    assert says_peer_is_gone(ValueError("UNKNOWN: Gloo all-reduce failed: Connection reset by peer"))
    assert says_peer_is_gone(jax.errors.JaxRuntimeError("UNAVAILABLE"))
    assert not says_peer_is_gone(ValueError("batch size must be a multiple of 4"))


def test_cores_are_counted_on_systems_that_do_not_say_which_may_be_used(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
