"""Curvature of losses: operators known by their products, their extreme eigenvalues, traces and spectra.

An operator is made by ``hessian``, ``ggn``, ``empirical_fisher`` or ``ntk``, combined by ``preconditioned``, ``shift``,
``subtree``, ``total``, ``mean`` and ``pmean``, and measured by ``top_eigs``, ``trace`` or ``spectral_density``.
``SharpnessTracker`` follows the largest eigenvalue along a run; ``thresholds`` says what it is to be compared with, and
``batch_inflation`` how much larger it is on batches.
"""

from lrstudy.curvature.errors import AsymmetricCurvatureError, CurvatureError, NonFiniteCurvature
from lrstudy.curvature.gauss_newton import empirical_fisher, ggn, ntk
from lrstudy.curvature.hessian import hessian
from lrstudy.curvature.inflation import BatchInflation, batch_inflation
from lrstudy.curvature.lanczos import EigResult, Status, top_eigs
from lrstudy.curvature.momentum import slq_lr_momentum
from lrstudy.curvature.operator import Operator, mean, pmean, shift, subtree, total
from lrstudy.curvature.preconditioner import adam_preconditioner, preconditioned
from lrstudy.curvature.sharpness import checked, sharpness
from lrstudy.curvature.spectrum import Moment, Quadrature, moment, spectral_density, spectral_quadrature
from lrstudy.curvature.thresholds import thresholds
from lrstudy.curvature.trace import Trace, trace
from lrstudy.curvature.tracker import SharpnessTracker, TrackerState

__all__ = [
    "AsymmetricCurvatureError",
    "BatchInflation",
    "CurvatureError",
    "EigResult",
    "Moment",
    "NonFiniteCurvature",
    "Operator",
    "Quadrature",
    "SharpnessTracker",
    "Status",
    "Trace",
    "TrackerState",
    "adam_preconditioner",
    "batch_inflation",
    "checked",
    "empirical_fisher",
    "ggn",
    "hessian",
    "mean",
    "moment",
    "ntk",
    "pmean",
    "preconditioned",
    "sharpness",
    "shift",
    "slq_lr_momentum",
    "spectral_density",
    "spectral_quadrature",
    "subtree",
    "thresholds",
    "top_eigs",
    "total",
    "trace",
]
