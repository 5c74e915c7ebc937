"""The table of schedules that a study can name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lrstudy.schedules.base import VERSION, Schedule, check_names
from lrstudy.schedules.checks import fail, one_of
from lrstudy.schedules.constant import Constant
from lrstudy.schedules.cosine import Cosine
from lrstudy.schedules.cyclic_cosine import CyclicCosine
from lrstudy.schedules.exponential import Exponential
from lrstudy.schedules.infinite import Infinite
from lrstudy.schedules.inverse_sqrt import InverseSqrt
from lrstudy.schedules.joined import Joined
from lrstudy.schedules.linear import Linear
from lrstudy.schedules.noam import Noam
from lrstudy.schedules.one_cycle import OneCycle
from lrstudy.schedules.polynomial import Polynomial
from lrstudy.schedules.power import Power
from lrstudy.schedules.rewarmed import Rewarmed
from lrstudy.schedules.rex import Rex
from lrstudy.schedules.sampled import Sampled
from lrstudy.schedules.shifted import Shifted
from lrstudy.schedules.step_decay import StepDecay
from lrstudy.schedules.tabulated import Tabulated
from lrstudy.schedules.wsd import WSD
from lrstudy.schedules.wsds import WSDS

TABLE: dict[str, type[Schedule]] = {
    "Constant": Constant,
    "Linear": Linear,
    "Cosine": Cosine,
    "Polynomial": Polynomial,
    "WSD": WSD,
    "WSDS": WSDS,
    "CyclicCosine": CyclicCosine,
    "Exponential": Exponential,
    "StepDecay": StepDecay,
    "OneCycle": OneCycle,
    "InverseSqrt": InverseSqrt,
    "Noam": Noam,
    "Power": Power,
    "Rex": Rex,
    "Infinite": Infinite,
    "Rewarmed": Rewarmed,
    "Sampled": Sampled,
    "Shifted": Shifted,
    "Joined": Joined,
    "Tabulated": Tabulated,
}
WRAPPERS = frozenset({"Sampled", "Shifted", "Joined"})
"""Rows that are made of other schedules, which a flag cannot name."""


def to_dict(schedule: Schedule) -> dict[str, Any]:
    """``schedule.to_dict()``: JSON-able data from which `from_dict` makes an equal schedule.

    Raises:
        ScheduleError: if an argument of the schedule is a tracer or an array of more than one number.
    """
    return schedule.to_dict()


def from_dict(data: Mapping[str, Any]) -> Schedule:
    """Makes the schedule that `to_dict` wrote, or that a person did.

    Args:
        data: "name", a key of `TABLE`; "version", which may be left out; and the arguments of the class. Lists stand
            for tuples.

    Raises:
        ScheduleError: for an unknown name, version or argument, with the nearest name; for a missing or a bad argument.

    Example:
        >>> schedule = from_dict({"name": "WSD", "peak": 0.003, "total_steps": 1000, "decay_fraction": 0.2})
        >>> schedule == WSD(0.003, 1000, decay_fraction=0.2)
        True
        >>> from_dict(to_dict(schedule)) == schedule
        True
        >>> from_dict({"name": "WSD", "peak": 0.003})
        Traceback (most recent call last):
        ...
        lrstudy.schedules.checks.ScheduleError: WSD: total_steps must be given, got None
    """
    if not isinstance(data, Mapping):
        fail("from_dict", "data", "a mapping with the key 'name'", data)
    arguments = {name: _revived(value) for name, value in data.items()}
    name, version = arguments.pop("name", None), arguments.pop("version", VERSION)
    if not isinstance(name, str) or name not in TABLE:
        fail("from_dict", "name", one_of(TABLE, name), name)
    if version != VERSION:
        fail(name, "version", str(VERSION), version)
    cls = TABLE[name]
    check_names(cls, arguments)
    for field in dataclasses.fields(cls):
        if field.default is dataclasses.MISSING and field.name not in arguments:
            fail(name, field.name, "given", None)
    return cls(**arguments)


def _revived(value: Any) -> Any:
    """An argument with the schedules in it made from their dictionaries."""
    if isinstance(value, list | tuple):
        return [_revived(element) for element in value]
    return from_dict(value) if isinstance(value, Mapping) else value
