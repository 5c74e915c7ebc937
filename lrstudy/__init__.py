"""Optimizer and learning-rate-schedule studies in JAX.

The rooms of the house, each importable alone: ``lrstudy.schedules``, ``lrstudy.optimizers``, ``lrstudy.models``,
``lrstudy.tasks``, ``lrstudy.parametrization``, ``lrstudy.training`` and ``lrstudy.study``. Importing this package
imports none of them.
"""

__version__ = "0.1.0"
