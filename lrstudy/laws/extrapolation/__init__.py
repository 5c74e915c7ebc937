"""How a learning curve goes on: a prior over curves, its exact posterior, a network that imitates it, when to stop."""

from lrstudy.laws.extrapolation.bars import Bars, equal_mass_borders
from lrstudy.laws.extrapolation.extrapolator import Extrapolator
from lrstudy.laws.extrapolation.importance import CurveMixture, EffectiveSizeWarning, ImportanceSampler
from lrstudy.laws.extrapolation.prior import LENGTH, LearningCurvePrior, NoiselessCurves
from lrstudy.laws.extrapolation.proximity import PowerCurve, fit_power, levels, stop_at
from lrstudy.laws.extrapolation.stopping import Backtest, LossScale, Predictor, backtest, binned, should_stop
from lrstudy.laws.extrapolation.training import Recipe, train

__all__ = [
    "LENGTH",
    "Backtest",
    "Bars",
    "CurveMixture",
    "EffectiveSizeWarning",
    "Extrapolator",
    "ImportanceSampler",
    "LearningCurvePrior",
    "LossScale",
    "NoiselessCurves",
    "PowerCurve",
    "Predictor",
    "Recipe",
    "backtest",
    "binned",
    "equal_mass_borders",
    "fit_power",
    "levels",
    "should_stop",
    "stop_at",
    "train",
]
