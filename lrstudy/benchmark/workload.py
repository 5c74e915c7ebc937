"""What a submission is timed on: a task with its model, a metric, a length and held-out variants."""

import dataclasses
from collections.abc import Mapping
from typing import Any, get_args

from lrstudy.benchmark.displaced_quadratic import DisplacedQuadratic
from lrstudy.benchmark.times import Mode
from lrstudy.models import MLP, ConvNet, Transformer
from lrstudy.schedules.checks import one_of
from lrstudy.tasks import Digits, ModularArithmetic, RandomFeatures, Task, Text
from lrstudy.tasks.corpus import TOPICS


@dataclasses.dataclass(frozen=True)
class Workload:
    """A task, and when it counts as solved.

    Attributes:
        name: in tables.
        task: with its model.
        metric: of the task's evaluation.
        mode: whether the metric is to be small, ``min``, or large, ``max``.
        step_hint: updates of a trial, which submissions are told.
        evaluate_every: updates between evaluations: times are multiples of it.
        variants: name to the task of a held-out variant.
    """

    name: str
    task: Task
    metric: str = "validation_loss"
    mode: Mode = "min"
    step_hint: int = 1000
    evaluate_every: int = 10
    variants: Mapping[str, Task] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the fields.

        Raises:
            ValueError: one is out of range.
        """
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode must be {one_of(get_args(Mode), self.mode)}, got {self.mode!r}")
        if not 1 <= self.evaluate_every <= self.step_hint:
            rule = f"in [1, step_hint ({self.step_hint})]"
            raise ValueError(f"evaluate_every must be {rule}, got {self.evaluate_every!r}")

    def held_out(self) -> list["Workload"]:
        """The variants as workloads, called ``<workload>_<variant>``."""
        return [
            dataclasses.replace(self, name=f"{self.name}_{variant}", task=task, variants={})
            for variant, task in self.variants.items()
        ]

    def definition(self) -> dict[str, Any]:
        """What a target belongs to, as JSON holds it: everything but the variants, and what the task reads."""
        return {name: _plain(getattr(self, name)) for name in _DEFINING}

    def is_defined_as(self, definition: Any) -> bool:
        """Whether a definition that was stored is this one's; of fields that it does not know the default is meant."""
        return isinstance(definition, dict) and all(
            _is_as(definition.get(name), getattr(self, name)) for name in _DEFINING
        )


_DEFINING = ("task", "metric", "mode", "step_hint", "evaluate_every")
_OUTSIDE = ("parent", "name")


def _fields(value: Any) -> list[Any]:
    """The fields that say what a task or a model is."""
    return [field for field in dataclasses.fields(value) if field.init and field.name not in _OUTSIDE]


def _plain(value: Any) -> Any:
    """A task or a model by its class and fields."""
    if dataclasses.is_dataclass(value):
        own = {field.name: _plain(getattr(value, field.name)) for field in _fields(value)}
        return {"class": type(value).__name__, **own}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _is_as(stored: Any, value: Any) -> bool:
    """Whether ``_plain`` made this of the value, or of one of fewer fields."""
    if not dataclasses.is_dataclass(value):
        return stored == _plain(value)
    if not isinstance(stored, dict) or stored.get("class") != type(value).__name__:
        return False
    held = [(field, getattr(value, field.name)) for field in _fields(value)]
    return all(_is_as(stored[f.name], own) if f.name in stored else own == f.default for f, own in held)


def _digits(batch_size: int, model: Any) -> Digits:
    return Digits(batch_size=batch_size, model=model)


def _text(width: int = 32, norm: str = "pre") -> Text:
    model: Any = Transformer(vocabulary=256, context=32, width=width, layers=2, heads=2, norm=norm)
    return Text(path=TOPICS, context=32, batch_size=16, validation_windows=64, model=model)


def _modular_arithmetic(operation: str = "addition", width: int = 128) -> ModularArithmetic:
    model: Any = MLP(outputs=23, width=width, layers=2)
    return ModularArithmetic(modulus=23, operation=operation, train_share=0.8, batch_size=211, model=model)


def _random_features(features: int) -> RandomFeatures:
    return RandomFeatures(features=features, most=features, noise=0.1)


def _quadratic(condition: float) -> DisplacedQuadratic:
    """Curvatures evenly spaced in logarithms from 1 down to the inverse of the condition number."""
    directions = 16
    curvatures = tuple(condition ** (-i / (directions - 1)) for i in range(directions))
    return DisplacedQuadratic(curvatures, (0.1,) * directions, (1.0,) * directions, chains=64)


_ALL = (
    Workload(
        "digits_mlp",
        _digits(64, MLP(outputs=10)),
        step_hint=500,
        variants={
            "layer_norm": _digits(64, MLP(outputs=10, layer_norm=True)),
            "wide": _digits(64, MLP(outputs=10, width=256)),
        },
    ),
    Workload(
        "digits_convnet",
        _digits(32, ConvNet(outputs=10, width=8)),
        step_hint=400,
        variants={"wide": _digits(32, ConvNet(outputs=10, width=16))},
    ),
    Workload(
        "text",
        _text(),
        step_hint=400,
        variants={"post_norm": _text(norm="post"), "wide": _text(width=64)},
    ),
    Workload(
        "modular_arithmetic",
        _modular_arithmetic(),
        step_hint=1000,
        variants={"multiplication": _modular_arithmetic("multiplication"), "wide": _modular_arithmetic(width=256)},
    ),
    # Its every batch is the whole sample: no seed changes anything.
    Workload(
        "random_features",
        _random_features(40),
        metric="test_error",
        step_hint=500,
        variants={"overparametrized": _random_features(200)},
    ),
    Workload(
        "quadratic",
        _quadratic(100.0),
        metric="hill_loss",
        step_hint=500,
        variants={"ill_conditioned": _quadratic(1000.0)},
    ),
)
TABLE: dict[str, Workload] = {one.name: one for one in _ALL}


def workload(name: str) -> Workload:
    """A workload of the table, or a held-out variant of one.

    Raises:
        ValueError: there is none of that name.
    """
    known = {one.name: one for base in TABLE.values() for one in (base, *base.held_out())}
    if name not in known:
        raise ValueError(f"workload must be {one_of(list(known), name)}, got {name!r}")
    return known[name]
