"""Learning-rate schedules: pure functions of the step, whose numbers are data.

``schedule(step)`` is the rate of the update that follows `step` updates. A schedule is a frozen dataclass and a pytree:
its numbers flow through ``jit``, ``vmap`` and ``grad``, and `stack` makes one schedule with batched leaves out of many.
To add a schedule, write one file with its class and add one row to `TABLE`.
"""

from lrstudy.schedules.base import Schedule
from lrstudy.schedules.batch_rules import AdamScaling, adam_from_batch, lr_from_batch
from lrstudy.schedules.batch_size_warmup import batch_size_warmup
from lrstudy.schedules.bound import best_peak, bound
from lrstudy.schedules.checks import ScheduleError
from lrstudy.schedules.constant import Constant
from lrstudy.schedules.cosine import Cosine
from lrstudy.schedules.cyclic_cosine import CyclicCosine
from lrstudy.schedules.exponential import Exponential
from lrstudy.schedules.infinite import Infinite
from lrstudy.schedules.inverse_sqrt import InverseSqrt
from lrstudy.schedules.joined import Joined, join
from lrstudy.schedules.linear import Linear
from lrstudy.schedules.noam import Noam
from lrstudy.schedules.one_cycle import OneCycle
from lrstudy.schedules.polynomial import Polynomial
from lrstudy.schedules.power import Power
from lrstudy.schedules.refined import refined
from lrstudy.schedules.rewarmed import Rewarmed
from lrstudy.schedules.rex import Rex
from lrstudy.schedules.sampled import Sampled
from lrstudy.schedules.shapes import SHAPES
from lrstudy.schedules.shifted import Shifted
from lrstudy.schedules.stacking import stack
from lrstudy.schedules.step_decay import StepDecay
from lrstudy.schedules.steps import steps_from_fraction, steps_from_tokens
from lrstudy.schedules.table import TABLE, WRAPPERS, from_dict, to_dict
from lrstudy.schedules.tabulated import Tabulated
from lrstudy.schedules.wsd import WSD
from lrstudy.schedules.wsds import WSDS

__all__ = [
    "SHAPES",
    "TABLE",
    "WRAPPERS",
    "WSD",
    "WSDS",
    "AdamScaling",
    "Constant",
    "Cosine",
    "CyclicCosine",
    "Exponential",
    "Infinite",
    "InverseSqrt",
    "Joined",
    "Linear",
    "Noam",
    "OneCycle",
    "Polynomial",
    "Power",
    "Rewarmed",
    "Rex",
    "Sampled",
    "Schedule",
    "ScheduleError",
    "Shifted",
    "StepDecay",
    "Tabulated",
    "adam_from_batch",
    "batch_size_warmup",
    "best_peak",
    "bound",
    "from_dict",
    "join",
    "lr_from_batch",
    "refined",
    "stack",
    "steps_from_fraction",
    "steps_from_tokens",
    "to_dict",
]
