"""SGD, SAM, SAF and MESA on wrong labels at equal gradient evaluations: who ends flatter, and who generalises better.

python -m experiments.flat_minima --preset=cpu --workdir=runs/flat_minima
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import flat_minima_claims as claims
from experiments import flat_minima_measures as measures
from experiments import flat_minima_probes as probes
from experiments import flat_minima_views as views
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig
from lrstudy.study.derived import Derived, Parts
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Assignment, Part, axis
from lrstudy.study.probes import Probe
from lrstudy.study.records import Records


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        tuning_seeds: of the runs on which numbers are chosen, among ``measures.TUNING_SEEDS``.
        seeds: of the runs that decide.
        steps: updates of momentum, and gradients of every method but the two that are there for information.
        width: of the perceptron.
    """

    tuning_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    steps: int
    width: int = 64


# Grids, sizes and thresholds were chosen on seeds 1 to 9.
SCALES: Mapping[str, Scale] = {
    "smoke": Scale((1, 2), (8, 9), 132, width=16),
    "cpu": Scale(measures.TUNING_SEEDS, tuple(range(1901, 1911)), 1_320),
    "gpu": Scale(measures.TUNING_SEEDS, tuple(range(1901, 1921)), 5_280, width=512),
}


def parts(scale: Scale) -> Parts:
    """The grid on the tuning seeds, what was best of it on all, and momentum at every peak on the deciding ones."""
    base = RunConfig(
        task=choice("task", "noisy_digits", batch_size=64),
        model=choice("model", "mlp", width=scale.width),
        schedule=choice("schedule", "Cosine", peak=measures.PEAKS[0]),
        optimizer=choice("optimizer", "momentum", momentum=measures.MOMENTUM),
        steps=scale.steps,
        record_every=scale.steps // 2,
    )
    return {
        "tuning": Part(base, [_grid(scale.steps), axis("seed", scale.tuning_seeds)]),
        "compared": Derived(("tuning",), lambda records: _compared(scale, base, records)),
        "rates": Part(base, [axis("schedule.peak", measures.FINE_PEAKS), axis("seed", scale.seeds)]),
    }


def _grid(steps: int) -> list[Assignment]:
    found = [_run(method, steps, peak) for method in ("momentum", "half") for peak in measures.FINE_PEAKS]
    return [*found, *(_run("sam", steps, peak, rho) for rho in measures.RADII for peak in measures.PEAKS)]


def _compared(scale: Scale, base: RunConfig, records: Records) -> Part:
    """The tuning seeds stand beside the deciding ones for the probe that tunes SAF and MESA."""
    table = measures.trained(records)
    methods = ("momentum", "half", "sam", "double")
    best = {method: measures.chosen(table, method) for method in methods}
    runs = [_run(method, scale.steps, point["peak"], point["second"]) for method, point in best.items()]
    return Part(base, [runs, axis("seed", (*scale.tuning_seeds, *scale.seeds))])


def _run(method: str, steps: int, peak: float, rho: float = 0.0) -> Assignment:
    updates = measures.updates_of(method, steps)
    found: dict[str, Any] = {"schedule.peak": peak, "steps": updates}
    if method in ("sam", "double"):
        settings = {"inner": "momentum", "momentum": measures.MOMENTUM, "rho": rho}
        found["optimizer"] = choice("optimizer", "sam", **settings)
    return found


_ALL = ("tuning", "compared", "rates")

EXPERIMENT = Experiment(
    name="flat_minima",
    title="Flat minima at equal cost: SGD, SAM, SAF and MESA on wrong labels",
    paper="Foret et al. 2021, Sharpness-Aware Minimization for Efficiently Improving Generalization, arXiv 2010.01412; "
    "Du et al. 2022, Sharpness-Aware Training for Free, arXiv 2205.14083",
    asks="do SAM, SAF and MESA end flatter than SGD, and better, when every gradient is paid for?",
    question="A step along the gradient at the worst place nearby is said to end in flatter minima that generalise "
    "better, and so, for free, is a loss that holds the outputs near to those of some epochs ago. Of handwritten "
    "digits of which almost half the labels are wrong, with every gradient paid for and every method tuned on as many "
    "points: is the end flatter, is the error lower, and does the one go with the other?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    probes=(
        Probe("ends", "compared", probes.ends),
        Probe("trajectory", "compared", probes.trajectory),
        Probe("rate_ends", "rates", probes.ends),
    ),
    figures=(
        Figure(
            "ends",
            "Validation error against the largest eigenvalue of the training loss's Hessian, on the deciding seeds. "
            "Left: where every method ended (dots: seeds; crosses: means with 95% intervals). Right: momentum's means "
            "at every peak rate, from the lowest to the highest along the line.",
            _ALL,
            views.ends,
        ),
        Figure(
            "grid",
            "Validation error on the tuning seeds (mean) against the peak rate, one line a value of the second number. "
            "Rings: what was chosen; dotted: the best of momentum at the same cost.",
            _ALL,
            views.grid,
        ),
    ),
    tables=(
        Table("methods", "Every method at its chosen numbers, over the deciding seeds; cost in gradients over "
              "momentum's", _ALL, measures.summary_table),
        Table("grid", "Every point of the grid: mean error and validation loss (nats) over the tuning seeds", _ALL,
              measures.grid_table),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(EXPERIMENT)
