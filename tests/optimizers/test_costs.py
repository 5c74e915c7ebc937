"""What XLA counts of an update does not grow: memory beside the state, and traffic."""

import functools
import json
import os
import subprocess
import sys

import jax
import pytest

from lrstudy.optimizers import TABLE

PLATFORM = ("0.10.2", "cpu")
"""Of what the limits were read; another compiler fuses otherwise."""

# Copies of the parameters, and bytes a parameter. Elementwise rules need no memory: what they write lies over what they
# read. COCOB keeps some, as its rewards are paid for the step that the new parameters overwrite. Rows with a norm or an
# inner product over all of a step keep the step meanwhile, LARS only where clipping needs a norm before; Muon, GaLore
# keep the factors of their products, FRUGAL and LISA what they gather and scatter, and Sophia its signs and what the
# branch of its estimate returns. The gradient that SAM takes itself is a bowl's.
LIMITS = {
    "adafactor": (1.006, 56.2),
    "adam": (0.0, 40.0),
    "adamw": (0.0, 40.0),
    "adamw after clipping": (0.003, 44.03),
    "ademamix": (0.0, 56.0),
    "cocob": (1.503, 124.2),
    "dadapt_adamw": (2.0, 92.1),
    "dog": (0.006, 24.1),
    "dowg": (0.006, 24.1),
    "ema_momentum": (0.0, 24.0),
    "fedhyper": (1.5, 44.1),
    "frugal_adamw": (0.624, 41.7),
    "galore": (0.874, 50.2),
    "hypergradient": (1.001, 36.1),
    "lamb": (0.0, 56.0),
    "lamb with decay": (0.001, 56.0),
    "lars": (0.0, 44.0),
    "lars after clipping": (0.998, 56.0),
    "lion": (0.0, 28.0),
    "lisa_adamw": (0.753, 45.1),
    "mechanic": (1.003, 92.1),
    "momentum": (0.0, 24.0),
    "momo": (1.002, 60.2),
    "momo_adam": (2.003, 104.2),
    "muon": (2.494, 199.6),
    "nadamw": (0.0, 44.0),
    "nap": (0.998, 32.0),
    "perp_adamw": (0.998, 72.0),
    "plateau": (0.0, 12.01),
    "prodigy": (0.003, 68.1),
    "reset_adamw": (0.0, 40.01),
    "sam": (0.003, 16.03),
    "schedule_free_adamw": (0.0, 56.0),
    "schedule_free_sgd": (0.0, 40.0),
    "sgd": (0.0, 12.0),
    "signum": (0.0, 24.0),
    "sophia": (3.0, 100.1),
}
SLACK = 1e-3
"""Of both: scalars and counters, a few bytes in all."""


@functools.cache
def counts():
    """Of every row at a million parameters, compiled as users do and not as tests are."""
    plain = {key: value for key, value in os.environ.items() if key not in ("XLA_FLAGS", "PYTHONWARNINGS")}
    command = [sys.executable, "-m", "benchmarks.optimizers", "--counts"]
    done = subprocess.run(command, env=plain, capture_output=True, text=True, timeout=600, check=True)
    return json.loads(done.stdout)


def test_every_row_has_a_limit():
    assert set(LIMITS) == {*TABLE, "adamw after clipping", "lamb with decay", "lars after clipping"}


@pytest.mark.skipif((jax.__version__, jax.default_backend()) != PLATFORM, reason=f"limits are of {PLATFORM}")
def test_no_update_needs_more_memory_or_traffic_than_it_did():
    found = counts()
    over = {
        name: (own["temp"], own["traffic"])
        for name, own in found.items()
        if own["temp"] > LIMITS[name][0] + SLACK or own["traffic"] > LIMITS[name][1] + SLACK
    }
    assert set(found) == set(LIMITS)
    assert not over
