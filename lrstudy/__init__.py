"""Optimizer and learning-rate-schedule studies in JAX.

Where to begin:

- ``lrstudy.schedules``: the learning rate as a function of the step. ``WSD(3e-3, 1000, decay_fraction=0.2)`` is one,
  and goes wherever optax takes a schedule. ``lrstudy.schedules.TABLE`` lists them all.
- ``lrstudy.optimizers``: transforms that optax lacks; ``lrstudy.optimizers.TABLE`` is of what a study can name.
- ``lrstudy.training``: one step as a pure function, and ``lrstudy.training.lanes.run``, which trains many runs that
  differ in numbers inside one compiled program.
- ``lrstudy.tasks`` and ``lrstudy.models``: what is trained; a task of your own subclasses ``lrstudy.tasks.Task``.
- ``lrstudy.parametrization``: rates that carry over to other widths and depths.
- ``lrstudy.curvature``: the largest eigenvalue of a loss's Hessian, its trace and its spectrum, along a run.
- ``lrstudy.laws``: laws of loss curves, fitted, and the schedule that such a law likes best.
- ``lrstudy.benchmark``: how soon an optimizer meets a target, and what that is worth.
- ``lrstudy.study``: what stands behind ``python -m experiments.<name>``: ``lrstudy.study.experiment.Experiment`` is a
  study, ``lrstudy.study.part.Part`` what it trains, ``lrstudy.study.claims.Claim`` what it claims.

Each can be imported alone; importing this package imports none of them.
"""

__version__ = "0.1.0"
