"""Learning a table by heart, and understanding it: gradients across the weights, softmax collapse, wrong results.

python -m experiments.grokking --preset=cpu --workdir=runs/grokking
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import grokking_claims as claims
from experiments import grokking_measures as measures
from experiments import grokking_views as views
from lrstudy.study.choices import Choice, choice
from lrstudy.study.config import RunConfig
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Part, axis
from lrstudy.tasks.modular_arithmetic import train_examples


@dataclasses.dataclass(frozen=True)
class Addition:
    """Modular addition, the training pairs in one batch.

    Attributes:
        modulus: p.
        train_share: share of the p^2 pairs that is seen.
        updates: of every run.
        every: updates between evaluations.
        width: hidden units of a layer.
    """

    modulus: int
    train_share: float
    updates: int
    every: int
    width: int = 200


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        seeds: of weights and order, which in one batch changes rounding alone.
        early: both optimizers until the one has learnt the rule.
        collapse: both optimizers until the other's softmax collapses.
        stablemax: AdamW with StableMax.
        corrupted: one quadratic layer, with decay and without.
        rate_updates: updates of both optimizers at other rates, on the table of ``collapse``.
        collapse_rate: learning rate of ``collapse``.
    """

    seeds: tuple[int, ...]
    early: Addition
    collapse: Addition
    stablemax: Addition
    corrupted: Addition
    rate_updates: int = 300
    collapse_rate: float = 0.01


# The seeds decide; decay, lengths and thresholds were chosen on seeds 1 to 9.
_SEEDS = tuple(range(1801, 1806))
_EARLY = Addition(113, 0.4, 300, 10)
SCALES: Mapping[str, Scale] = {
    "smoke": Scale(
        (8, 9), Addition(11, 0.5, 160, 10, 12), Addition(7, 0.5, 40, 10, 12), Addition(7, 0.5, 40, 10, 12),
        Addition(7, 0.5, 40, 10, 12), 40,
    ),
    "cpu": Scale(
        _SEEDS, _EARLY, Addition(59, 0.5, 1_800, 50), Addition(59, 0.5, 1_000, 50), Addition(53, 0.5, 1_000, 25, 256)
    ),
    "gpu": Scale(
        _SEEDS, _EARLY, Addition(113, 0.4, 4_000, 50), Addition(113, 0.4, 80_000, 500),
        Addition(97, 0.5, 2_000, 25, 512),
    ),
    "paper": Scale(
        _SEEDS, _EARLY, Addition(113, 0.4, 20_000, 100), Addition(113, 0.4, 80_000, 500),
        Addition(97, 0.5, 2_000, 25, 512), collapse_rate=0.000_5,
    ),
}  # fmt: skip


def parts(scale: Scale) -> Mapping[str, Part]:
    """Both optimizers, briefly, at other rates and for long; StableMax; wrong results with decay and without."""
    seeds = axis("seed", scale.seeds)
    optimizers = axis("optimizer", (measures.PERP, measures.PLAIN))
    # As published. No epsilon keeps steps from following gradients as these fade: those of perfect fits fade as fast as
    # the second moment forgets, so the time to collapse goes with b2.
    plain = choice("optimizer", "adamw", b2=0.99, eps=1e-25, weight_decay=0.0)
    decays = axis("optimizer.weight_decay", (measures.DECAY, 0.0))
    briefly = dataclasses.replace(scale.collapse, updates=scale.rate_updates)
    quadratic = {"layers": 1, "activation": "quadratic"}
    return {
        "early": Part(_run(scale.early, plain), [optimizers, seeds]),
        "rates": Part(_run(briefly, plain), [optimizers, axis("schedule.peak", measures.RATES), seeds]),
        "collapse": Part(_run(scale.collapse, plain, scale.collapse_rate), [optimizers, seeds]),
        "stablemax": Part(_run(scale.stablemax, plain.with_argument("b2", 0.999), cross_entropy="stablemax"), [seeds]),
        "corrupted": Part(
            _run(scale.corrupted, choice("optimizer", "adamw", b2=0.98), **quadratic),
            [axis("task.corrupted", measures.WRONG), decays, seeds],
        ),
    }


def _run(
    size: Addition, optimizer: Choice, rate: float = 0.01, cross_entropy: str = "softmax", **model: Any
) -> RunConfig:
    return RunConfig(
        task=choice(
            "task",
            "modular_arithmetic",
            modulus=size.modulus,
            train_share=size.train_share,
            batch_size=train_examples(size.modulus, size.train_share),
            cross_entropy=cross_entropy,
        ),
        model=choice("model", "bias_free_mlp", width=size.width, **model),
        schedule=choice("schedule", "Constant", peak=rate),
        optimizer=optimizer,
        steps=size.updates,
        record_every=size.every,
        evaluate_every=size.every,
    )


EXPERIMENT = Experiment(
    name="grokking",
    title="Grokking: gradients across the weights, the softmax's collapse, wrong results",
    paper="Prieto et al. 2025, Grokking at the Edge of Numerical Stability, arXiv 2501.04697; Doshi et al. 2023, To "
    "Grok or Not to Grok: Disentangling Generalization and Memorization on Corrupted Algorithmic Datasets, arXiv "
    "2310.13061",
    asks="is a table learnt by heart understood at once with gradients across the weights, what does a "
    "collapsed softmax stop, does a decay unlearn wrong results?",
    question="A network learns a part of the table of addition modulo p by heart long before, or without ever, "
    "understanding it. Without weight decay, the loss is said to be lowered by larger weights alone, until float32 "
    "rounds the softmax to certainty and nothing is left to learn from. Does a gradient without its part along the "
    "weights understand at once, and does it not collapse? What does StableMax, which does not round so, do? And does "
    "a decay make a network give up wrong results that it has learnt?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    figures=(
        Figure(
            "early",
            "Accuracy on unseen pairs (lines) and on training pairs (dashed), and the training loss (nats), against "
            f"updates. Dotted: {measures.EARLY} updates.",
            ("early",),
            views.early,
        ),
        Figure(
            "rates",
            "Accuracy at the end on unseen pairs (lines) and on training pairs (dashed) against the learning rate.",
            ("rates",),
            views.rates,
        ),
        Figure(
            "collapse",
            "Left: training pairs whose softmax sums to exactly 1 in float32 (lines) and whose loss is exactly 0 "
            "(dashed), against updates. Middle: training loss (nats). Right: norm of all weights.",
            ("collapse",),
            views.collapse,
        ),
        Figure(
            "stablemax",
            "AdamW with StableMax, against updates. Left: accuracies, training pairs on whose scores a softmax would "
            "sum to exactly 1, and those whose loss does not pull their own score. Right: training loss (nats).",
            ("stablemax",),
            views.stablemax,
        ),
        Figure(
            "corrupted",
            "Some of the training results are wrong: accuracy on unseen pairs (lines) and on training pairs, wrong "
            "results counted as given (dashed), against updates. Dotted: the share of right results.",
            ("corrupted",),
            views.corrupted,
        ),
    ),
    tables=(
        Table(
            "settings",
            "Every setting, means over seeds: accuracies at the end, updates until 99%, the most that both accuracies "
            "had together, the largest share of collapsed training pairs and the smallest training loss on the way",
            ("early", "collapse", "stablemax", "corrupted"),
            measures.table,
        ),
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
