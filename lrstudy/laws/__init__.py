"""Loss curves -> fitted laws -> predictions, better schedules and when to stop.

Laws of curves (``AnnealingLaw``, ``MultiPowerLaw``, ``FunctionalScalingLaw``, ``ConvexBound``, ``SizedAnnealingLaw``)
are fitted to ``Curve``s, which ``read_curves`` reads from files; laws of runs (``ChinchillaLaw``, ``KaplanLaw``,
``KaplanStepsLaw``, ``StepLaw``, ``PowerLearningRate``) to tables with one row a run. Each ``predict``s, and its
``fit`` says how well it does and which parameters the data do not tell. ``best_schedule`` asks a law of curves for the
schedule that it likes best. How a learning curve goes on whatever its schedule is the matter of ``extrapolation``; what
samples and features do to least squares, exactly, that of ``random_features`` and ``feature_regimes``.
"""

from lrstudy.laws.annealing import AnnealingLaw
from lrstudy.laws.best_schedule import best_schedule
from lrstudy.laws.chinchilla import BESIROGLU, HOFFMANN, ChinchillaLaw
from lrstudy.laws.convex_bound import ConvexBound
from lrstudy.laws.critical_batch import BatchTradeoff, CriticalBatch, batch_tradeoff
from lrstudy.laws.curve import Curve
from lrstudy.laws.errors import ExtrapolationWarning, LawError
from lrstudy.laws.extrapolation.prior import LearningCurvePrior
from lrstudy.laws.fit import Fit
from lrstudy.laws.functional_scaling import FunctionalScalingLaw
from lrstudy.laws.kaplan import KaplanLaw, KaplanStepsLaw
from lrstudy.laws.kernel_risk import kernel_risk
from lrstudy.laws.multi_power import MultiPowerLaw
from lrstudy.laws.power_rate import PowerLearningRate
from lrstudy.laws.reading import read_curves
from lrstudy.laws.scores import scores
from lrstudy.laws.sized_annealing import SizedAnnealingLaw
from lrstudy.laws.step_law import StepLaw, regrets

__all__ = [
    "BESIROGLU",
    "HOFFMANN",
    "AnnealingLaw",
    "BatchTradeoff",
    "ChinchillaLaw",
    "ConvexBound",
    "CriticalBatch",
    "Curve",
    "ExtrapolationWarning",
    "Fit",
    "FunctionalScalingLaw",
    "KaplanLaw",
    "KaplanStepsLaw",
    "LawError",
    "LearningCurvePrior",
    "MultiPowerLaw",
    "PowerLearningRate",
    "SizedAnnealingLaw",
    "StepLaw",
    "batch_tradeoff",
    "best_schedule",
    "kernel_risk",
    "read_curves",
    "regrets",
    "scores",
]
