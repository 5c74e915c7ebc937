"""Transforms that optax lacks, and the table of the optimizers that a configuration can name."""

from lrstudy.feedback import effective_lr
from lrstudy.ghosts import ghost_normalised
from lrstudy.optimizers.allora import allora_linear
from lrstudy.optimizers.classp import classp
from lrstudy.optimizers.cocob import cocob
from lrstudy.optimizers.dadaptation import dadapt_adamw, prodigy
from lrstudy.optimizers.dealias import dealias
from lrstudy.optimizers.decay import decay_mask
from lrstudy.optimizers.distance_over_gradients import dog, dowg
from lrstudy.optimizers.fedhyper import fedhyper
from lrstudy.optimizers.finite_guard import finite_guard
from lrstudy.optimizers.float32_state import with_float32_state
from lrstudy.optimizers.frugal import frugal
from lrstudy.optimizers.ghost_batch_norm import adapted_regime, running_statistics
from lrstudy.optimizers.gns_newton import gns_newton
from lrstudy.optimizers.hypergradient import hypergradient
from lrstudy.optimizers.lisa import lisa
from lrstudy.optimizers.lost import lost_decomposed, lost_linear
from lrstudy.optimizers.mechanic import mechanic
from lrstudy.optimizers.momo import momo, momo_adam
from lrstudy.optimizers.nadam import nadam_algoperf
from lrstudy.optimizers.normalized import project_to_norm
from lrstudy.optimizers.orthogonal import orthogonal_gradient
from lrstudy.optimizers.periodic_reset import periodic_reset
from lrstudy.optimizers.plateau import plateau
from lrstudy.optimizers.refactor import refactor_lowrank
from lrstudy.optimizers.row import Optimizer
from lrstudy.optimizers.schedule_free import averaged_params, schedule_free
from lrstudy.optimizers.self_tuning import (
    hyper_linear,
    hyper_linear_init,
    perturbed_hyperparameters,
    self_tuning_objective,
    whose_turn,
)
from lrstudy.optimizers.separable import (
    batch_perceptron,
    logistic_gd,
    normalized_batch_perceptron,
    normalized_logistic_gd,
)
from lrstudy.optimizers.sharpness_aware import mesa_loss, sam, sam_step, trajectory_loss
from lrstudy.optimizers.table import TABLE
from lrstudy.optimizers.tract import tract_linear
from lrstudy.optimizers.trust_ratio import scale_by_trust_ratio
from lrstudy.stablemax import log_stablemax, stablemax_cross_entropy

__all__ = [
    "TABLE",
    "Optimizer",
    "adapted_regime",
    "allora_linear",
    "averaged_params",
    "batch_perceptron",
    "classp",
    "cocob",
    "dadapt_adamw",
    "dealias",
    "decay_mask",
    "dog",
    "dowg",
    "effective_lr",
    "fedhyper",
    "finite_guard",
    "frugal",
    "ghost_normalised",
    "gns_newton",
    "hyper_linear",
    "hyper_linear_init",
    "hypergradient",
    "lisa",
    "log_stablemax",
    "logistic_gd",
    "lost_decomposed",
    "lost_linear",
    "mechanic",
    "mesa_loss",
    "momo",
    "momo_adam",
    "nadam_algoperf",
    "normalized_batch_perceptron",
    "normalized_logistic_gd",
    "orthogonal_gradient",
    "periodic_reset",
    "perturbed_hyperparameters",
    "plateau",
    "prodigy",
    "project_to_norm",
    "refactor_lowrank",
    "running_statistics",
    "sam",
    "sam_step",
    "scale_by_trust_ratio",
    "schedule_free",
    "self_tuning_objective",
    "stablemax_cross_entropy",
    "tract_linear",
    "trajectory_loss",
    "whose_turn",
    "with_float32_state",
]
