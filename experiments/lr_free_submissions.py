"""Who takes part in the study of learning-rate-free methods, at which defaults, and where calibration looks."""

from collections.abc import Mapping
from typing import Any

from lrstudy.benchmark.rows import COMPLEMENT, END_SHARE, RATE, row
from lrstudy.benchmark.space import Range, Space
from lrstudy.benchmark.submission import Submission
from lrstudy.optimizers import TABLE

BASELINE = "nadamw"
FREE = ("cocob", "dadapt_adamw", "dog", "dowg", "mechanic", "momo", "momo_adam", "prodigy")
DEFAULT_RATE = {**dict.fromkeys(FREE, 1.0), "momo_adam": 1e-2, BASELINE: 1e-3}
"""As published: the factor on what is estimated, the most that MoMo-Adam may take, Adam's own rate."""

_RULE: Mapping[str, Mapping[str, Any]] = {BASELINE: {"rule": "algoperf"}}
_RATES = Range(1e-3, 0.1)
_RANGES = {
    "b1": Range(0.02, 0.5),
    "b2": Range(1e-3, 0.1),
    "beta": Range(0.02, 0.5),
    "caution": Range(10.0, 1000.0),
    "weight_decay": Range(5e-3, 1.0),
}
"""Of decays of moments it is what is left to 1 that is searched. Those of AdamW's baselines of AlgoPerf, where these
have one; the same for all methods, so that none is searched more narrowly than another."""


def default(name: str) -> Submission:
    """A method at its published defaults, under the benchmark's own warmup and cosine."""
    return row(name, label=f"{name}-default", points=[{RATE: DEFAULT_RATE[name]}], **_RULE.get(name, {}))


def searched(name: str) -> Submission:
    """A method whose hyperparameters are searched: all but the rate, which NAdamW alone has to find."""
    fixed: dict[str, Any] = dict(_RULE.get(name, {}))
    space = space_of(name)
    if RATE not in space:
        fixed[RATE] = DEFAULT_RATE[name]
    return row(name, label=f"{name}-calibrated", space=space, **fixed)


def space_of(name: str) -> Space:
    """What calibration searches: decays of moments, weight decay, COCOB's caution, how far the rate falls."""
    found = {END_SHARE: Range(0.0, 1.0, "linear")}
    for key, one in _RANGES.items():
        if key in TABLE[name].defaults:
            found[f"{COMPLEMENT}{key}" if key in ("b1", "b2", "beta") else key] = one
    return {RATE: _RATES, **found} if name == BASELINE else found
