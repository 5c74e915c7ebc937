"""The Power scheduler: one setting of the learning rate for every batch size and every number of tokens.

python -m experiments.power_scheduler --preset=cpu --workdir=runs/power_scheduler
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from experiments import power_scheduler_claims as claims
from experiments import power_scheduler_views as views
from experiments.power_scheduler_law import Law, cells, fit, optima
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig
from lrstudy.study.derived import Derived, Parts
from lrstudy.study.errors import StudyError
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Assignment, Part, axis
from lrstudy.study.records import Records

DECAY_SHARE = 0.2
"""Of the tokens, for WSD and Power alike; both fall to zero by the same exponential."""

SHAPE = "exp_to_zero"


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        tuning_seeds: of the sweep that the law is fitted to.
        seeds: on which the schedules are compared.
        batches: windows a step.
        tokens: of whole runs.
        peaks: rates of the sweep; the largest is also Power's cap.
        warmup_tokens: the same for every run.
        width: of the transformer.
        layers: of the transformer.
        context: bytes of a window.
    """

    tuning_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    batches: tuple[int, ...]
    tokens: tuple[int, ...]
    peaks: tuple[float, ...]
    warmup_tokens: int
    width: int = 32
    layers: int = 1
    heads: int = 2
    context: int = 32


def _doubled(first: float, count: int) -> tuple[float, ...]:
    return tuple(first * 2**i for i in range(count))


def _doubled_tokens(first: int, count: int) -> tuple[int, ...]:
    return tuple(first * 2**i for i in range(count))


# No seed of these was used to choose the settings or the thresholds.
SCALES: Mapping[str, Scale] = {
    "smoke": Scale((101, 102), (201, 202), (2, 4), (1_024, 4_096), _doubled(0.008, 8), 128, 8, 0, 1, 16),
    "cpu": Scale(
        (101, 102, 103), (201, 202, 203), (4, 16, 64), _doubled_tokens(65_536, 4), _doubled(0.001, 7), 4_096
    ),
    "gpu": Scale(
        (101, 102, 103), (201, 202, 203), (8, 16, 32, 64), _doubled_tokens(4_194_304, 5), _doubled(0.000_25, 7),
        262_144, 256, 4, 4, 256,
    ),
    "paper": Scale(
        (101, 102, 103), (201, 202, 203), (16, 32, 64, 128, 256, 512), _doubled_tokens(2**31, 8),
        _doubled(0.000_2, 8), 2**28, 512, 12, 8, 4_096,
    ),
}  # fmt: skip


def parts(scale: Scale) -> Parts:
    """The sweep, and what follows from it: WSD tuned and at its best single peak, and Power by either law."""
    return {
        "sweep": Part(
            _base(scale),
            [
                [_wsd(scale, batch, tokens, peak) for batch in scale.batches for tokens in scale.tokens
                 for peak in scale.peaks],
                axis("seed", scale.tuning_seeds),
            ],
        ),
        "wsd": Derived(("sweep",), lambda records: _compared(scale, records)),
        "power": Derived(("sweep",), lambda records: _power(scale, records, _linear)),
        "free": Derived(("sweep",), lambda records: _power(scale, records, _free)),
    }  # fmt: skip


def _base(scale: Scale) -> RunConfig:
    return RunConfig(
        task=choice("task", "text", context=scale.context),
        model=choice("model", "transformer", width=scale.width, layers=scale.layers, heads=scale.heads),
        schedule=choice("schedule", "Constant", peak=scale.peaks[0]),
        optimizer=choice("optimizer", "adamw", b2=0.95, weight_decay=0.1),
        clip_norm=1.0,
    )


def _run(scale: Scale, batch: int, tokens: int) -> dict[str, Any]:
    return {"task.batch_size": batch, "steps": tokens // (batch * scale.context)}


def _wsd(scale: Scale, batch: int, tokens: int, peak: float) -> Assignment:
    warmup = scale.warmup_tokens // (batch * scale.context)
    schedule = {"warmup_steps": warmup, "decay_fraction": DECAY_SHARE, "shape": SHAPE}
    return {**_run(scale, batch, tokens), "schedule": choice("schedule", "WSD", peak=peak, **schedule)}


def _compared(scale: Scale, records: Records) -> Part:
    """WSD at every cell's own tuned peak, and at the one peak that is best for all cells together."""
    found = cells(records.part("sweep"))
    tuned = {(row.batch, row.tokens): row.best for row in optima(found).itertuples()}
    single = claims.single_peak(found)
    runs = [
        _wsd(scale, batch, tokens, peak)
        for (batch, tokens), best in tuned.items()
        for peak in dict.fromkeys((best, single))
    ]
    return Part(_base(scale), [runs, axis("seed", scale.seeds)])


def _linear(law: Law, batch: int) -> tuple[float, float]:
    """The one setting of a and b, whatever the batch."""
    del batch
    return law.a, law.b


def _free(law: Law, batch: int) -> tuple[float, float]:
    """The law whose exponent of the batch is fitted: then a depends on the batch."""
    return law.constant * batch ** (law.batch_exponent - 1), law.token_exponent


def _power(scale: Scale, records: Records, numbers: Callable[[Law, int], tuple[float, float]]) -> Part:
    """Power in every cell, with a and b as they follow from the fitted law and, where they do, the batch.

    Raises:
        StudyError: the fitted rate does not fall with the tokens, so that no Power schedule follows.
    """
    law = fit(optima(cells(records.part("sweep"))))
    runs = []
    for batch in scale.batches:
        a, b = numbers(law, batch)
        if not b < 0:
            raise StudyError(f"the fitted b must be below 0 for a Power schedule, got {b:.3g}")
        setting = {"peak": scale.peaks[-1], "a": a, "b": b, "sequence_length": scale.context, "shape": SHAPE}
        for tokens in scale.tokens:
            lengths = {"warmup_tokens": float(scale.warmup_tokens), "total_tokens": float(tokens)}
            lengths |= {"decay_tokens": DECAY_SHARE * tokens}
            schedule = choice("schedule", "Power", batch_size=batch, **setting, **lengths)
            runs.append({**_run(scale, batch, tokens), "schedule": schedule})
    return Part(_base(scale), [runs, axis("seed", scale.seeds)])


EXPERIMENT = Experiment(
    name="power_scheduler",
    title="One learning rate for every batch size and length: the Power scheduler",
    paper="Shen et al. 2024, Power Scheduler: A Batch Size and Token Number Agnostic Learning Rate Scheduler, arXiv "
    "2408.13359",
    asks="how does the best rate depend on batch and tokens, and does one Power schedule serve all budgets?",
    question="The tuned rate of a warmup-stable-decay run is said to be proportional to the batch size and to a power "
    "of the tokens trained on. Does that law fit small transformers without width-transferred rates, trained on real "
    "text? And does the schedule that follows the law as tokens go by, with one setting for every batch size and "
    "length, end where a WSD run tuned for that very batch and length ends?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    figures=(
        Figure(
            "law",
            "Best WSD rate of every batch size and length (dots; hollow: on the grid's edge, not fitted), the law "
            "with rates proportional to the batch (lines) and that with a fitted exponent of the batch (dotted).",
            ("sweep",),
            views.law,
        ),
        Figure("sweep", "Final validation loss of WSD against its peak, one line a length.", ("sweep",), views.sweep),
        Figure(
            "regret",
            "Final validation loss above that of the WSD run tuned for the cell; bars: standard error over seeds.",
            claims.COMPARED,
            views.regret,
        ),
        Figure(
            "schedules",
            "The schedules at one batch size: Power for every length, and the tuned WSD runs.",
            claims.COMPARED,
            views.schedules,
        ),
    ),
    tables=(
        Table("law", "The fitted laws, with 95% intervals: of least squares over cells, and the jackknife's over seeds",
              ("sweep",), claims.law_table),
        Table("optima", "Best WSD rate of every cell, by the mean over the sweep's seeds", ("sweep",),
              claims.optimum_table),
        Table(
            "regret",
            "Final validation loss (nats) above that of the tuned WSD run, paired by seed: one Power setting, Power "
            "with a fitted exponent of the batch, and WSD at the one peak that is best for all cells together",
            claims.COMPARED,
            claims.regret_table,
        ),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(EXPERIMENT)
