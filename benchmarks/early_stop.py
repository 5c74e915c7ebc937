"""How often stopping runs early (``--config.early_stop=predictive``) stops the one that would have ended best.

python -m benchmarks.early_stop

Every sweep is trained to its end, several seeds of it, and then replayed with the rule; it needs the network that
``python -m lrstudy.study.extrapolator`` trains. Curves of the network's own prior are replayed as well, and where
``LRSTUDY_DATA`` names a folder with ``loss_curves/`` published losses, which a study would not compare: their schedules
are of several kinds.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app
from scipy.stats import beta

from benchmarks import timing
from benchmarks.extrapolation import SCALE, real_groups
from lrstudy.laws.extrapolation import Extrapolator, LearningCurvePrior
from lrstudy.laws.extrapolation.racing import PredictiveStop, Replay, replay
from lrstudy.study.choices import choice
from lrstudy.study.config import Run, RunConfig, eval_params, make_transform, resolve
from lrstudy.study.early_stop import points_of, rivals_at, settled_at
from lrstudy.study.extrapolator import load_extrapolator
from lrstudy.study.part import Part, axis
from lrstudy.training import lanes

SEEDS = range(1401, 1421)
"""They decide the sweeps that the rule was made on, with seeds 1 to 5."""
HELD_OUT_SEEDS = range(1421, 1441)
"""Of ``held_out_sweeps``, which were not run before the rule was what it is."""
PRIOR_SEED, PRIOR_SETS, PRIOR_RUNS = 1401, 200, 20
LINE = 0.05


TEXT = RunConfig(
    task=choice("task", "text", batch_size=4, context=32),
    model=choice("model", "transformer", layers=1, width=16, heads=2),
    schedule=choice("schedule", "Cosine", peak=0.01, warmup_steps=25),
    optimizer=choice("optimizer", "adamw", b2=0.99, weight_decay=0.1),
    clip_norm=1.0,
    steps=500,
    evaluate_every=10,
)
DIGITS = RunConfig(
    task=choice("task", "digits"),
    model=choice("model", "mlp"),
    schedule=choice("schedule", "Linear", peak=0.1),
    optimizer=choice("optimizer", "momentum"),
    steps=300,
    evaluate_every=10,
)


def sweeps() -> Mapping[str, Part]:
    """What is swept, one seed: some twenty runs a set."""
    images = dataclasses.replace(
        DIGITS,
        model=choice("model", "convnet"),
        schedule=choice("schedule", "Cosine", peak=0.01),
        optimizer=choice("optimizer", "adamw"),
        steps=200,
        record_every=5,
        evaluate_every=5,
    )
    constant = dataclasses.replace(
        TEXT,
        schedule=choice("schedule", "Constant", peak=0.01, warmup_steps=25),
        optimizer=choice("optimizer", "adamw", b2=0.99),
    )
    decays = axis("optimizer.weight_decay", (0.0, 0.1, 1.0))
    return {
        "text, cosine, AdamW: rate x weight decay": Part(TEXT, [_rates(0.0005, 8), decays]),
        "text, constant, AdamW: rate x b2": Part(constant, [_rates(0.0005, 8), axis("optimizer.b2", (0.95, 0.99))]),
        "digits, linear, momentum: rate x momentum": Part(
            DIGITS, [_rates(0.01, 7), axis("optimizer.momentum", (0.0, 0.8, 0.9))]
        ),
        "digits, cosine, convnet, AdamW: rate x weight decay": Part(images, [_rates(0.0005, 7), decays]),
    }


def held_out_sweeps() -> Mapping[str, Part]:
    """Other schedules, optimizers, tasks and axes; one seed of each."""
    text = dataclasses.replace(
        TEXT,
        schedule=choice("schedule", "Linear", peak=0.01),
        optimizer=choice("optimizer", "adamw", b2=0.95),
        steps=400,
    )
    digits = dataclasses.replace(DIGITS, schedule=choice("schedule", "Cosine", peak=0.1), steps=200, record_every=5)
    polynomial = RunConfig(
        task=choice("task", "polynomial_regression"),
        schedule=choice("schedule", "Constant", peak=0.1),
        optimizer=choice("optimizer", "adam"),
        steps=300,
        evaluate_every=10,
    )
    averaged = dataclasses.replace(
        text,
        schedule=choice("schedule", "Constant", peak=0.01, warmup_steps=20),
        optimizer=choice("optimizer", "schedule_free_adamw", b2=0.99),
    )
    warmups, rates = axis("schedule.warmup_steps", (0, 40, 100)), _rates(0.0005, 8)
    return {
        "text, linear, AdamW: rate x warmup": Part(text, [rates, warmups]),
        "digits, cosine, momentum: rate x warmup": Part(digits, [_rates(0.05, 5), warmups]),
        "polynomials, constant, Adam: rate x b2": Part(polynomial, [rates, axis("optimizer.b2", (0.9, 0.99, 0.999))]),
        "text, schedule-free AdamW: rate x b1": Part(averaged, [rates, axis("optimizer.b1", (0.8, 0.9, 0.95))]),
    }


def _rates(lowest: float, count: int) -> Any:
    return axis("schedule.peak", tuple(lowest * 2**i for i in range(count)))


def runs_of(part: Part, seed: int) -> list[Run]:
    """The runs of one set."""
    return [resolve(config) for config in part.overridden({"seed": seed}, {}).configs()]


def trained(runs: Sequence[Run]) -> np.ndarray:
    """Losses of every run before its first update and at each of its points; NaN from where it diverged."""
    first, metric = runs[0], runs[0].task.objective
    every = first.config.evaluate_every
    _, rows, finals = lanes.run(
        [run.hyperparameters for run in runs],
        lambda hparams: make_transform(first, hparams),
        eval_params=eval_params(first),
        record_every=every,
        evaluate_every=every,
    )
    points = [0, *points_of(first)]
    losses = np.full((len(runs), len(points)), np.nan)
    for lane in range(len(runs)):
        own = rows["lane"] == lane
        known = dict(zip(rows["step"][own].tolist(), rows[metric][own].tolist(), strict=True))
        losses[lane] = [known.get(int(point), np.nan) for point in points]
    losses[finals["lane"], -1] = finals[metric]
    return losses


def replayed(rule: PredictiveStop, extrapolator: Extrapolator, runs: Sequence[Run], losses: np.ndarray) -> Replay:
    """As a study would have stopped them."""
    points = points_of(runs[0])

    def rivals(observed: int) -> np.ndarray:
        step = int(points[observed - 1]) + 1
        settled = np.array([settled_at(run, step) for run in runs])
        # What is not settled has no rivals, and so is never stopped, and is nobody's.
        return rivals_at(runs, step) & settled[:, None] & settled

    return replay(rule, extrapolator, losses, rivals)


def row(name: str, rule: PredictiveStop, done: Sequence[Replay], possible: int) -> list[str]:
    """One line of the table: with the two-sided 95% interval of Clopper and Pearson."""
    stopped, count = sum(d.best_stopped for d in done), len(done)
    low = beta.ppf(0.025, stopped, count - stopped + 1) if stopped else 0.0
    high = beta.ppf(0.975, stopped + 1, count - stopped) if stopped < count else 1.0
    saved = 1 - sum(int(d.trained.sum()) for d in done) / (possible * count)
    regret = np.array([d.regret for d in done])
    interval = f"{stopped} of {count}: {stopped / count:.1%} [{low:.2%}, {high:.2%}]"
    return [name, f"{rule.risk:.0%}", f"{saved:.0%}", interval, f"{regret.mean():.5f}", f"{regret.max():.5f}"]


def prior_sets(extrapolator: Extrapolator, seed: int, sets: int) -> list[str]:
    """Curves of the prior, which rise, as losses."""
    rule = PredictiveStop(worst=1.0)
    curves = np.asarray(LearningCurvePrior().sample(jax.random.key(seed), sets * PRIOR_RUNS))
    losses = 1 - np.pad(curves, ((0, 0), (1, 0))).reshape(sets, PRIOR_RUNS, -1)
    done = [replay(rule, extrapolator, own) for own in losses]
    return row(f"curves of the prior, {PRIOR_RUNS} a set", rule, done, PRIOR_RUNS * curves.shape[1])


def real_sets(extrapolator: Extrapolator, folder: Path) -> list[list[str]]:
    """Published losses, each set alone: the runs of one model and length."""
    rows = []
    for name, curves in real_groups(folder).items():
        losses = SCALE.to_losses(np.pad(curves, ((0, 0), (1, 0))))
        rule = PredictiveStop(best=SCALE.best, worst=SCALE.worst, logarithmic=SCALE.logarithmic)
        rows.append(row(name, rule, [replay(rule, extrapolator, losses)], curves.size))
    return rows


def main(argv: Sequence[str]) -> None:
    """Measures and records."""
    del argv
    extrapolator, rule = load_extrapolator(), PredictiveStop(risk=LINE)
    rows, every, possible = [prior_sets(extrapolator, PRIOR_SEED, PRIOR_SETS)], [], []
    kinds = [(name, part, SEEDS) for name, part in sweeps().items()]
    kinds += [(f"held out: {name}", part, HELD_OUT_SEEDS) for name, part in held_out_sweeps().items()]
    for name, part, seeds in kinds:
        sets = [runs_of(part, seed) for seed in seeds]
        curves = [trained(runs) for runs in sets]
        done = [replayed(rule, extrapolator, *one) for one in zip(sets, curves, strict=True)]
        size = curves[0][:, 1:].size
        rows.append(row(name, rule, done, size))
        every, possible = [*every, *done], [*possible, *[size] * len(done)]
        free = [replay(rule, extrapolator, own) for own in curves]
        rows.append(row(f"{name}; all others rivals", rule, free, size))
    rows.append(row("all sweeps", rule, every, sum(possible) // len(every)))
    data = os.environ.get("LRSTUDY_DATA")
    if data:
        rows.extend(real_sets(extrapolator, Path(data) / "loss_curves"))
    columns = (
        "runs",
        "risk",
        "points saved",
        "sets whose best run was stopped",
        "mean regret (nats)",
        "largest regret",
    )
    title = f"Sweeps of seeds {SEEDS[0]} to {HELD_OUT_SEEDS[-1]}, trained whole and replayed"
    timing.record("early_stop", "Stopping runs that are not likely to end best", timing.table(title, columns, rows))


if __name__ == "__main__":
    app.run(main)
