"""Curvature of a loss whose examples are split between devices."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def report():
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "2", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "tests.curvature.two_devices"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", ["pmap", "shard_map", "unchecked"])
def test_the_mean_over_devices_is_the_whole(report, kind):
    sharpness, matvecs = report["alone"]
    error, value, found_matvecs, tracked, products = report[kind]
    # float32 sums in another order.
    assert error < 1e-6
    assert value == pytest.approx(sharpness, rel=1e-5)
    assert found_matvecs == matvecs
    assert tracked == pytest.approx(sharpness, rel=1e-5)
    # A probe and a cold solve, then a warm and a cold one: every device takes the same turns.
    assert products > 2 * matvecs
