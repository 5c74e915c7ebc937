"""How a learning curve goes on: a prior over curves, its exact posterior, a network that imitates it, when to stop."""

from lrstudy.laws.extrapolation.bars import Bars, equal_mass_borders
from lrstudy.laws.extrapolation.extrapolator import Extrapolator
from lrstudy.laws.extrapolation.importance import CurveMixture, EffectiveSizeWarning, ImportanceSampler
from lrstudy.laws.extrapolation.prior import LENGTH, LearningCurvePrior, NoiselessCurves
from lrstudy.laws.extrapolation.training import Recipe, train

__all__ = [
    "LENGTH",
    "Bars",
    "CurveMixture",
    "EffectiveSizeWarning",
    "Extrapolator",
    "ImportanceSampler",
    "LearningCurvePrior",
    "NoiselessCurves",
    "Recipe",
    "equal_mass_borders",
    "train",
]
