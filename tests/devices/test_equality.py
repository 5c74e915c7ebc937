"""Several devices give the numbers of one, hold what they should, and send each other nothing else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from jax.sharding import PartitionSpec as P

from lrstudy.training.devices import spec_of

# Sums of a batch in another order differ in float32 by a few units
# in the last place, 6e-8, of values of size one, ten updates later by a few more.
EQUAL = 1e-6


def said(module, devices):
    command = [sys.executable, "-W", "error", "-m", f"tests.devices.{module}", "--json"]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found():
    return said("equality", 8)


@pytest.fixture(scope="module")
def right(found):
    return [row for row in found["steps"] if row["path"] != "sum for mean"]


def test_steps_on_every_path_give_the_numbers_of_one_device(right):
    assert len(right) == 1 + 4 + 4 * 4
    for row in right:
        assert row["loss"] < EQUAL, row
        assert row["params"] < EQUAL, row


def test_parameters_in_bfloat16_train_on_several_devices(found):
    assert [row["path"] for row in found["bfloat16"]] == ["pmap", "shard"]
    for row in found["bfloat16"]:
        # One rounding an update, of 2^-8 of a value, and one of its gradient before that.
        assert row["loss"] < 6 * 2**-8, row
        assert row["params"] < 6 * 2**-8, row


def test_a_sum_in_place_of_the_mean_is_caught(found):
    (wrong,) = (row for row in found["steps"] if row["path"] == "sum for mean")
    assert wrong["params"] > 1000 * EQUAL
    assert wrong["loss"] > 1000 * EQUAL


def test_a_loss_that_the_optimizer_differentiates_is_that_of_the_whole_batch(found):
    assert [row["path"] for row in found["differentiated"]] == ["pmap", "shard"]
    for row in found["differentiated"]:
        assert row["params"] < EQUAL, row
        assert row["copies"] == 0, row


def test_a_step_is_part_of_other_programs_and_takes_any_state(found):
    for way, loss in found["called"].items():
        assert abs(loss - found["called"]["alone"]) < EQUAL, way


def test_bytes_of_a_device_fall_as_the_stage_says(right):
    whole = next(row for row in right if row["path"] == "pmap")
    for row in right:
        if row["path"] == "shard":
            # Every tensor of this model has an axis that 8 divides.
            assert row["optimizer_bytes"] * (row["devices"] if row["stage"] else 1) == whole["optimizer_bytes"]
            assert row["param_bytes"] * (row["devices"] if row["stage"] == 3 else 1) == whole["param_bytes"]


def test_nothing_is_gathered_but_what_a_stage_must(right, found):
    for row in right:
        if row["path"] != "shard" or row["devices"] == 1:
            continue
        text, whole = row["collectives"], sorted(found["whole"])
        # Whole tensors are put together once a step where they are kept or updated in shares, and nothing else is: no
        # activation, no state of the optimizer.
        assert sorted(text["all-gather"]) == (whole if row["stage"] else []), row
        assert not text["all-to-all"]
        shares = sorted(size // row["devices"] for size in whole)
        assert sorted(text["reduce-scatter"]) == (shares if row["stage"] > 1 else []), row


def test_lanes_that_share_batches_send_each_other_means_alone(found):
    text = found["lane_collectives"]
    # Loss and gradient are one all-reduce of a tuple, between the four devices of a lane.
    assert text["all-reduce"]
    assert not text["all-gather"] + text["all-to-all"] + text["reduce-scatter"]


def test_lanes_on_devices_give_the_numbers_of_one_device(found):
    assert len(found["lanes"]) == 12
    for row in found["lanes"]:
        assert row["loss"] < EQUAL, row
        assert row["params"] < EQUAL, row


def test_a_program_of_lanes_compiles_once_whatever_is_spread(found):
    assert {row["compilations"] for row in found["lanes"]} == {1}
    stages = {row["stage"]: row["spread"] for row in found["lanes"] if row["devices"] == "2 x 4"}
    assert stages[1] == stages[2] == [["lanes"]]
    assert stages[3] == [["lanes", "data"]]


def test_checkpoints_are_restored_on_other_devices_and_stages(found):
    assert len(found["restored"]) == 5
    for row in found["restored"]:
        assert row["same_bits"], row
        assert row["params"] < EQUAL, row


def test_the_old_state_is_given_up(found):
    assert found["donated"] == {"pmap": True, "shard": True}


@pytest.mark.parametrize(
    ("shape", "size", "spec"),
    [
        ((8, 16), 4, P(None, "data")),
        ((16, 16), 4, P("data")),
        ((3, 5), 4, P()),
        ((4,), 4, P("data")),
        ((), 4, P()),
        ((0, 4), 4, P(None, "data")),
        ((8, 16), 1, P()),
    ],
)
def test_a_tensor_is_spread_along_its_largest_axis_that_fits(shape, size, spec):
    assert spec_of(shape, "data", size) == spec


def test_batches_that_are_read_ahead_reach_all_devices():
    """Fifty updates, whose parameters are of size one: each may differ by a few units in the last place."""
    differences = said("reading", 4)
    assert differences["lanes"] == 0
    assert max(differences.values()) <= 50 * 6e-8
