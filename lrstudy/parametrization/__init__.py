"""How the learning rate depends on the model: today the optimum of a loss curve over rates."""

from lrstudy.parametrization.optimum import Optimum, optimal_learning_rate

__all__ = ["Optimum", "optimal_learning_rate"]
