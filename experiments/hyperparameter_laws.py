"""The best rate and the best batch as powers of size and tokens, and what a fitted law loses on cells it never saw.

python -m experiments.hyperparameter_laws --preset=cpu --workdir=runs/hyperparameter_laws
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import hyperparameter_laws_claims as claims
from experiments import hyperparameter_laws_measures as measures
from experiments import hyperparameter_laws_views as views
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Part, axis


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        seeds: of every run of the grid.
        widths: of the transformer; its size is that of its blocks' kernels.
        tokens: of a run.
        batches: windows of an update.
        peaks: of the schedule.
        layers: of the transformer.
        context: bytes of a window.
        least_rate: at which every schedule ends, as in the paper.
    """

    seeds: tuple[int, ...]
    widths: tuple[int, ...]
    tokens: tuple[int, ...]
    batches: tuple[int, ...]
    peaks: tuple[float, ...]
    layers: int = 1
    context: int = 32
    least_rate: float = 1e-5


def _doubled(first: Any, count: int) -> tuple[Any, ...]:
    return tuple(first * 2**i for i in range(count))


# The seeds decide; the grid and the thresholds were chosen on seeds 1 to 9.
SCALES: Mapping[str, Scale] = {
    "smoke": Scale((1, 2), (8, 12, 16), (512, 1_024, 2_048), (2, 4), (0.016, 0.064), context=16),
    "cpu": Scale(
        (1301, 1302, 1303, 1304, 1305), (16, 32, 64), _doubled(131_072, 3), _doubled(1, 5), _doubled(0.001, 6)
    ),
    "gpu": Scale(
        (1301, 1302, 1303), (64, 128, 256), _doubled(4_194_304, 4), _doubled(8, 5), _doubled(0.000_25, 7), 4, 256
    ),
    "paper": Scale(
        (1301,), (1_024, 1_280, 1_536, 2_048), _doubled(4 * 10**9, 5), _doubled(32, 7), _doubled(0.000_25, 7), 16,
        2_048,
    ),
}  # fmt: skip


def parts(scale: Scale) -> Mapping[str, Part]:
    """Every size, length, batch and peak, with every seed."""
    base = RunConfig(
        task=choice("task", "text", context=scale.context),
        model=choice("model", "transformer", layers=scale.layers, heads=2),
        schedule=choice("schedule", "Cosine", peak=scale.peaks[0], end=scale.least_rate),
        optimizer=choice("optimizer", "adamw", b2=0.95, weight_decay=0.1),
        clip_norm=1.0,
    )
    budgets = [_budget(scale, tokens, batch) for batch in scale.batches for tokens in scale.tokens]
    peaks = axis("schedule.peak", scale.peaks)
    return {"grid": Part(base, [axis("model.width", scale.widths), budgets, peaks, axis("seed", scale.seeds)])}


def _budget(scale: Scale, tokens: int, batch: int) -> Mapping[str, Any]:
    steps = tokens // (batch * scale.context)
    return {"task.batch_size": batch, "steps": steps, "schedule.warmup_steps": max(1, steps // 20)}


EXPERIMENT = Experiment(
    name="hyperparameter_laws",
    title="The best learning rate and batch size as powers of size and tokens",
    paper="Li et al. 2025, Predictable Scale: Part I, Step Law, Optimal Hyperparameter Scaling Law in Large Language "
    "Model Pretraining, arXiv 2503.04715",
    asks="are the best rate and batch powers of size and tokens, and what does a fitted law lose where it was "
    "not fitted?",
    question="The best learning rate of a language model is said to be a power of its size times a power of its "
    "tokens, and its best batch size a power of the tokens alone, whatever the size. Does that form fit small "
    "transformers on real text, and does a law that was fitted to the smaller cells of a grid find rates and batches "
    "for the larger ones that are as good as the best that the grid has?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    figures=(
        Figure(
            "optima",
            "Best rate (left) and batch in tokens (right) against the tokens of a run, one colour a size; lines: the "
            "law fitted to the filled dots. Hollow dots were left out of the fit. Sizes stand side by side.",
            ("grid",),
            views.optima,
        ),
        Figure(
            "surfaces",
            "Validation loss over the best of the cell, in per cent, against rate and batch: one panel a cell. Cross: "
            "best of the grid; ring: the law's choice.",
            ("grid",),
            views.surfaces,
        ),
    ),
    tables=(
        Table("law", "The fitted law with 95% bootstrap intervals, beside the paper's", ("grid",), measures.law_table),
        Table("cells", "Every cell: its best rate and batch, those of the law, and what they cost", ("grid",),
              measures.cell_table),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(EXPERIMENT)
