"""The river valley: why a warmup-stable-decay schedule works (Wen et al. 2024, arXiv 2410.05192).

python -m experiments.river_valley --preset=cpu --workdir=runs/river_valley
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import river_valley_budgets as budgets
from experiments import river_valley_claims as claims
from experiments import river_valley_views as views
from experiments.published import C4, published
from lrstudy.study.choices import Choice, choice
from lrstudy.study.config import RunConfig
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Axis, Part, axis
from lrstudy.study.probes import Context, Probe, losses_between

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        seeds: of every part but the bigram table, which has more because it is small.
        chains: of the landscapes.
        toy_steps: of the curved river.
        text_steps: of the text runs; the decay takes the last fifth.
        peaks: learning rates of the text runs.
        budget_peak: the rate at which budgets are compared.
        width: of the transformer.
        layers: of the transformer.
        context: bytes of a window.
        batch_size: windows a step.
        dataset: that the text runs train on; empty: the text that comes with Python.
    """

    seeds: tuple[int, ...]
    chains: int
    toy_steps: int
    text_steps: int
    peaks: tuple[float, ...]
    budget_peak: float
    width: int = 64
    layers: int = 2
    heads: int = 2
    context: int = 64
    batch_size: int = 16
    dataset: str = ""


# OpenWebText, which the paper trained on, is not in TFDS' catalogue; C4 is text of the web too. The seeds decide the
# claims; none of them was used to choose the settings or the thresholds.
SCALES: Mapping[str, Scale] = {
    "smoke": Scale((201, 202), 64, 200, 40, (0.003, 0.006), 0.006, width=16, layers=1, context=16, batch_size=4),
    "cpu": Scale((201, 202, 203), 16_384, 4_000, 1_000, (0.001, 0.003, 0.006, 0.012), 0.006),
    "gpu": Scale((201, 202, 203), 65_536, 4_000, 4_000, (0.0005, 0.001, 0.002, 0.004), 0.002, 384, 6, 6, 256, 64),
    "paper": Scale(
        (201, 202, 203),
        65_536,
        4_000,
        50_000,
        (0.0003, 0.0006, 0.0012, 0.0024),
        0.0006,
        768,
        12,
        12,
        4_096,
        1_024,
        dataset=C4,
    ),
}


def parts(scale: Scale) -> Mapping[str, Part]:
    """The parts in the order in which they are run: what is quick comes first."""
    seeds = axis("seed", scale.seeds)
    return {
        "stationary": Part(_landscape("quadratic", 2_000, scale, noise=(1.0,), start=(0.0,)), [_stationary(), seeds]),
        "quadratic": Part(_landscape("quadratic", 2_000, scale), [axis("schedule", _quadratic_schedules()), seeds]),
        "river": Part(_landscape("river", scale.toy_steps, scale), [axis("schedule", _river_schedules()), seeds]),
        "bigram": Part(_bigram(), [axis("schedule", _bigram_schedules()), axis("seed", range(201, 217))]),
        "river_budgets": Part(
            _landscape("river", scale.toy_steps, scale), [_budget_axis(scale.toy_steps, 0.02, 0), seeds]
        ),
        "text": Part(
            _text(scale), [axis("schedule", _text_schedules(scale)), axis("schedule.peak", scale.peaks), seeds]
        ),
        "text_budgets": Part(_text(scale), [_budget_axis(scale.text_steps, scale.budget_peak, _warmup(scale)), seeds]),
    }


def _landscape(task: str, steps: int, scale: Scale, **arguments: Any) -> RunConfig:
    every = max(1, steps // 100)
    return RunConfig(
        task=choice("task", task, chains=scale.chains, **arguments),
        schedule=choice("schedule", "Constant", peak=0.02),
        optimizer=choice("optimizer", "sgd"),
        steps=steps,
        record_every=every,
        evaluate_every=every,
    )


def _stationary() -> Axis:
    """Four pairs of sharpness and rate, each far above the time it takes to become stationary."""
    pairs = ((1.0, 0.01), (10.0, 0.02), (50.0, 0.02), (50.0, 0.01))
    return [{"task.eigenvalues": (sharpness,), "schedule.peak": rate} for sharpness, rate in pairs]


def _quadratic_schedules() -> Sequence[Choice]:
    return (
        choice("schedule", "WSD", peak=0.02, decay_fraction=0.2, shape="linear"),
        choice("schedule", "Cosine", peak=0.02),
    )


def _river_schedules() -> Sequence[Choice]:
    return (
        choice("schedule", "WSD", peak=0.02, decay_fraction=0.1, shape="linear"),
        choice("schedule", "Cosine", peak=0.02),
        choice("schedule", "Constant", peak=0.02),
        choice("schedule", "Constant", peak=0.002),
    )


def _bigram() -> RunConfig:
    return RunConfig(
        task=choice("task", "bigram"),
        schedule=choice("schedule", "Constant", peak=10.0),
        optimizer=choice("optimizer", "sgd"),
        steps=1_000,
        evaluate_every=10,
    )


def _bigram_schedules() -> Sequence[Choice]:
    return (
        choice("schedule", "WSD", peak=10.0, decay_fraction=0.2, shape="linear"),
        choice("schedule", "Constant", peak=10.0),
        choice("schedule", "Constant", peak=1.0),
    )


def _warmup(scale: Scale) -> int:
    return scale.text_steps // 20


def _text(scale: Scale) -> RunConfig:
    model = {"width": scale.width, "layers": scale.layers, "heads": scale.heads}
    every = scale.text_steps // 20
    sizes = {"context": scale.context, "batch_size": scale.batch_size, "validation_windows": 512}
    return RunConfig(
        task=published(choice("task", "text", **sizes), scale.dataset),
        model=choice("model", "transformer", **model),
        schedule=choice("schedule", "Constant", peak=scale.budget_peak, warmup_steps=_warmup(scale)),
        optimizer=choice("optimizer", "adamw", b2=0.99, weight_decay=0.1),
        clip_norm=1.0,
        steps=scale.text_steps,
        record_every=min(10, every),
        evaluate_every=every,
    )


def _text_schedules(scale: Scale) -> Sequence[Choice]:
    warmup = _warmup(scale)
    return (
        choice("schedule", "Constant", warmup_steps=warmup),
        choice("schedule", "Cosine", warmup_steps=warmup),
        choice("schedule", "WSD", warmup_steps=warmup, decay_fraction=0.2, shape="linear"),
    )


def _budget_axis(steps: int, peak: float, warmup: int) -> Axis:
    """Three ways to serve three budgets with ``steps`` updates in all, and what WSD would do if it could spend more.

    Cyclic-Cosine and WSD-S spend them on one path with ends at a quarter, a half and all of it. The three WSD runs are
    shortened alike until their common trunk and their three decays cost as much; three more have the full lengths.
    """
    ends = budgets.budget_ends(steps)
    common = {"peak": peak, "warmup_steps": warmup, "end": 0.1 * peak}
    cyclic = choice("schedule", "CyclicCosine", ends=ends, **common)
    simplified = choice("schedule", "WSDS", ends=ends, decay_fraction=budgets.DECAY_SHARE, **common)
    branches = [
        {"schedule": choice("schedule", "WSD", decay_steps=decay, shape="inverse", **common), "steps": budget}
        for budget, decay in (*budgets.shortened_budgets(steps), *budgets.full_budgets(steps))
    ]
    return [{"schedule": cyclic}, {"schedule": simplified}, *branches]


SHARES = tuple(np.linspace(-0.25, 1.5, 36).tolist())


def _line(context: Context) -> "pd.DataFrame":
    """Validation loss from the stable checkpoint to the decayed one and beyond, for every WSD run."""
    import pandas as pd

    tables = []
    for run in context.runs:
        if run.run_id not in context.branches:
            continue
        branch = context.branches[run.run_id]
        start, end = context.params(branch.run_id, branch.step), context.params(run.run_id, run.config.steps)
        losses = losses_between(run, start, end, SHARES)["validation_loss"]
        label = f"peak {run.columns['schedule.peak']:g}"
        row = {"label": label, "seed": run.config.seed, "share": SHARES, "validation_loss": losses}
        tables.append(pd.DataFrame(row))
    return pd.concat(tables, ignore_index=True)


EXPERIMENT = Experiment(
    name="river_valley",
    title="The river valley behind warmup-stable-decay schedules",
    paper="Wen et al. 2024, Understanding Warmup-Stable-Decay Learning Rates: A River Valley Loss Landscape "
    "Perspective, arXiv 2410.05192",
    asks="why does a warmup-stable-decay schedule work?",
    question="A loss landscape may be a river between steep hills: a large learning rate travels far down the river "
    "but bounces between the hills, and a decay settles it onto the river. Does that picture predict what schedules "
    "do, on landscapes where it can be computed, on a table of bigrams, and on a transformer that learns real text?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    probes=(Probe("line", "text", _line),),
    figures=(
        Figure(
            "text", "Text: learning rate and validation loss, each schedule at its best peak.", ("text",), views.text
        ),
        Figure("text_rates", "Text: final validation loss against the peak rate.", ("text",), views.text_rates),
        Figure(
            "text_line",
            "Text: validation loss along the straight line through a decay, one line a seed.",
            ("text",),
            views.text_line,
        ),
        Figure(
            "text_budgets",
            "Text: three budgets at equal total cost, all at one peak.",
            ("text_budgets",),
            views.text_budgets,
        ),
        Figure("text_budget_curves", "Text: the paths behind the budgets.", ("text_budgets",), views.text_paths),
        Figure(
            "landscape",
            "Curved river from above. Lines: one chain of each schedule, of the first seed; a single chain diffuses "
            "farther than it drifts. Diamonds: the mean over all chains and seeds at the end, put on the river.",
            ("river",),
            views.landscape,
        ),
        Figure("river", "Curved river: rate and mean loss over the chains.", ("river",), views.river),
        Figure(
            "river_budgets", "Curved river: three budgets, all at one peak.", ("river_budgets",), views.river_budgets
        ),
        Figure("river_budget_curves", "River: the paths behind the budgets.", ("river_budgets",), views.river_paths),
        Figure("bigram", "Bigrams: excess cross-entropy of each kind of context.", ("bigram",), views.bigram),
        Figure("quadratic", "Noisy quadratic: simulated and expected loss.", ("quadratic",), views.quadratic),
        Figure(
            "stationary", "Noisy quadratic: constant rates reach their closed form.", ("stationary",), views.stationary
        ),
    ),
    tables=(
        Table("text_budgets", "Text: the budgets and what they cost", ("text_budgets",), budgets.text_budget_table),
        Table("text_gaps", "Text: WSD-S beside the others, nats, by seed", ("text_budgets",), budgets.text_gap_table),
        Table("river_budgets", "Curved river: the budgets", ("river_budgets",), budgets.river_budget_table),
        Table("river_gaps", "Curved river: WSD-S beside the others", ("river_budgets",), budgets.river_gap_table),
        Table(
            "text",
            "Text: final validation loss (nats per byte), the same windows for every run; errors are over seeds",
            ("text",),
            claims.text_table,
        ),
        Table("stationary", "Noisy quadratic: stationary loss", ("stationary",), claims.stationary_table),
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
