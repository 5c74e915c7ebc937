"""Schedules under a budget: REX, refined schedules and Schedule-Free beside the customary ones.

python -m experiments.budgeted_schedules --preset=cpu --workdir=runs/budgeted_schedules
"""

import dataclasses
from collections.abc import Mapping

from experiments import budgeted_schedules_claims as claims
from experiments import budgeted_schedules_views as views
from experiments.budgeted_schedules_methods import Setting, deciding, refining, tuning
from experiments.published import IMAGENET, LM1B, published
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig
from lrstudy.study.derived import Derived, Parts
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Part


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    There are as many deciding seeds as peaks times tuning seeds: then the programs that decide have as many lanes as
    those that tuned, and are found in the cache of compiled programs.

    Attributes:
        tuning_seeds: that choose the peak.
        seeds: that decide.
        peaks: how many peaks are tried, around the middle of each setting's grid.
        digits_steps: the full budget of the digits.
        text_steps: the full budget of the text.
        width: of the transformer.
        layers: of the transformer.
        context: bytes of a window.
        batch_size: windows a step.
        names: of the settings that are trained.
        images: that the perceptron learns; empty: the digits.
        text: that the transformer learns; empty: the text that comes with Python.
    """

    tuning_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    peaks: int
    digits_steps: int
    text_steps: int
    width: int = 32
    layers: int = 1
    heads: int = 2
    context: int = 32
    batch_size: int = 8
    names: tuple[str, ...] = tuple(claims.SETTINGS)
    images: str = ""
    text: str = ""


# No deciding or tuning seed was used to choose the settings or the thresholds.
SCALES: Mapping[str, Scale] = {
    "smoke": Scale((101,), (201, 202), 2, 160, 160, 8, 0, 1, 8, 2, ("digits_sgd",)),
    "cpu": Scale((101,), (201, 202, 203, 204, 205), 5, 600, 400),
    "gpu": Scale((101, 102, 103), tuple(range(201, 216)), 5, 2_000, 2_000, 256, 4, 4, 256, 32),
    "paper": Scale(
        (101, 102, 103),
        tuple(range(201, 216)),
        5,
        450_000,
        100_000,
        768,
        12,
        12,
        1_024,
        256,
        images=IMAGENET,
        text=LM1B,
    ),
}

_SPACING = 2.5
"""Ratio of neighbouring peaks."""


def _grid(middle: float, count: int) -> tuple[float, ...]:
    """Peaks at even spacing in the logarithm, to three digits."""
    return tuple(float(f"{middle * _SPACING ** (i - count // 2):.3g}") for i in range(count))


def settings(scale: Scale) -> Mapping[str, Setting]:
    """Digits and text, each with momentum and with Adam; the middles of the grids come from development seeds."""
    images = choice("task", "digits", batch_size=16)
    if scale.images:
        images = published(images, scale.images, side=224, batch_size=256)
    digits = RunConfig(
        task=images,
        model=choice("model", "resnet") if scale.images else None,
        schedule=choice("schedule", "Constant", peak=0.1),
        optimizer=choice("optimizer", "momentum"),
        steps=scale.digits_steps,
        record_every=max(1, scale.digits_steps // 300),
    )
    text = dataclasses.replace(
        digits,
        task=published(choice("task", "text", context=scale.context, batch_size=scale.batch_size), scale.text),
        model=choice("model", "transformer", width=scale.width, layers=scale.layers, heads=scale.heads),
        clip_norm=1.0,
        steps=scale.text_steps,
        record_every=max(1, scale.text_steps // 300),
    )
    warmup = scale.text_steps // 100

    def momentum(base: RunConfig, middle: float, free_middle: float, warmup: int = 0) -> Setting:
        free = choice("optimizer", "schedule_free_sgd")
        return Setting(base, _grid(middle, scale.peaks), free, _grid(free_middle, scale.peaks), warmup)

    def adam(base: RunConfig, middle: float, free_middle: float, warmup: int = 0) -> Setting:
        base = dataclasses.replace(base, optimizer=choice("optimizer", "adam"))
        free = choice("optimizer", "schedule_free_adamw", weight_decay=0.0)
        return Setting(base, _grid(middle, scale.peaks), free, _grid(free_middle, scale.peaks), warmup)

    return {
        "digits_sgd": momentum(digits, 0.1, 1.0),
        "digits_adam": adam(digits, 0.01, 0.02),
        "text_sgd": momentum(text, 0.25, 3.0, warmup),
        "text_adam": adam(text, 0.015, 0.015, warmup),
    }


def parts(scale: Scale) -> Parts:
    """Setting after setting: every peak on the tuning seeds, the refined schedules that follow, the deciding seeds."""
    found: dict[str, Part | Derived] = {}
    every = settings(scale)
    for name in scale.names:
        setting = every[name]
        found[f"tune_{name}"] = tuning(setting, scale.tuning_seeds)
        found[f"refine_{name}"] = refining(name, setting, scale.tuning_seeds)
        found[f"decide_{name}"] = deciding(name, setting, scale.seeds)
    return found


EXPERIMENT = Experiment(
    name="budgeted_schedules",
    title="Learning-rate schedules under a budget",
    paper="Chen, Wolfe, Kyrillidis 2021, REX: Revisiting Budgeted Training with an Improved Schedule, arXiv "
    "2107.04197; Defazio et al. 2023, When, Why and How Much? Adaptive Learning Rate Scheduling by Refinement, arXiv "
    "2310.07831; Defazio et al. 2024, The Road Less Scheduled, arXiv 2405.15682",
    asks="which schedule makes the most of 5 to 100% of the updates, each at its own tuned peak?",
    question="Training may be allowed 5, 10, 25, 50 or 100% of its customary updates. Which schedule makes the most of "
    "such a budget, when each has its own tuned peak? REX is said to be at least as good as a line to zero, above all "
    "at low budgets; a schedule refined from the gradient norms of the linear run at least as good as that; and "
    "Schedule-Free training to need none.",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    # What is drawn are the settings that are decided: a stopped study shows what it has.
    figures=(
        Figure(
            "budgets",
            "Final validation loss over that of the linear schedule at the same budget, each at its own tuned peak; "
            "means over the deciding seeds, bars: standard error of the paired difference.",
            (),
            views.budgets,
        ),
        Figure(
            "refined",
            "Schedules refined from the gradient norms of the linear run at each budget, over their highest rate.",
            (),
            views.refined_schedules,
        ),
        Figure(
            "rates",
            "Tuning: final validation loss against the peak at the smallest and the full budget.",
            (),
            views.rates,
        ),
    ),
    tables=(
        Table(
            "ranking",
            "Rank of every method (1 is best of 9): mean over settings and budgets of the rank of its mean loss, and "
            "the same at 5 and 10% alone; the error is the standard error over seeds of the rank on each seed's runs",
            (),
            claims.ranking,
        ),
        Table(
            "losses",
            "Final validation loss (nats) on the deciding seeds, and its difference from the linear schedule's, paired "
            "by seed, with its 95% interval; a tie is an interval that holds zero",
            (),
            claims.loss_table,
        ),
        Table(
            "peaks",
            "Tuned peaks: the best of the grid by the mean over the tuning seeds",
            (),
            claims.peak_table,
        ),
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
