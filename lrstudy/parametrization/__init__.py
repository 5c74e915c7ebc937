"""How learning rates depend on the model: what grows with its width and depth, and what is scaled to make up for it."""

from lrstudy.parametrization.coordinate import CoordinateCheck, coordinate_check
from lrstudy.parametrization.model import Parametrized
from lrstudy.parametrization.optimum import Optimum, optimal_learning_rate
from lrstudy.parametrization.rules import PARAMETRIZATIONS, Rule, attention_scale, rules
from lrstudy.parametrization.sensitivity import learning_rate_at_threshold, learning_rate_sensitivity
from lrstudy.parametrization.specs import ParamSpec, SpecError, infer_specs
from lrstudy.parametrization.table import DECIDED, TABLE, Parametrization, Scaled
from lrstudy.parametrization.transform import rules_of, transform

__all__ = [
    "DECIDED",
    "PARAMETRIZATIONS",
    "TABLE",
    "CoordinateCheck",
    "Optimum",
    "ParamSpec",
    "Parametrization",
    "Parametrized",
    "Rule",
    "Scaled",
    "SpecError",
    "attention_scale",
    "coordinate_check",
    "infer_specs",
    "learning_rate_at_threshold",
    "learning_rate_sensitivity",
    "optimal_learning_rate",
    "rules",
    "rules_of",
    "transform",
]
