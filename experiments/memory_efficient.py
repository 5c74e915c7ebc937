"""Optimizers that keep little state, at equal memory: FRUGAL, GaLore and LISA beside AdamW on smaller models.

python -m experiments.memory_efficient --preset=cpu --workdir=runs/memory_efficient
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

from experiments import memory_efficient_claims as claims
from experiments import memory_efficient_measures as measures
from experiments import memory_efficient_probes as probes
from experiments import memory_efficient_views as views
from experiments.published import C4, published
from lrstudy.study.choices import Choice, choice
from lrstudy.study.config import RunConfig
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Part, axis
from lrstudy.study.probes import Probe


class Narrower(NamedTuple):
    """Widths of AdamW's models in the memory of FRUGAL with half, a quarter and none of the columns' state."""

    half: int
    quarter: int
    none: int


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        seeds: of every run, and of what is drawn by FRUGAL and LISA.
        peaks: of the schedule, the same for every method.
        steps: updates.
        width: of the transformer that all methods train.
        narrower: those that AdamW trains in as many bytes.
        gap: updates between subspaces, and half of those between resets.
        layers: of every model.
        heads: of every model.
        context: bytes of a window.
        batch_size: windows of an update.
        dataset: that is trained on; empty: the text that comes with Python.
    """

    seeds: tuple[int, ...]
    peaks: tuple[float, ...]
    steps: int
    width: int
    narrower: Narrower
    gap: int = 50
    layers: int = 2
    heads: int = 2
    context: int = 32
    batch_size: int = 8
    dataset: str = ""


def _octaves(first: float, count: int) -> tuple[float, ...]:
    return tuple(first * 2**i for i in range(count))


_SEEDS = (2001, 2002, 2003, 2004, 2005)
# The seeds decide; sizes, rates and thresholds were chosen on seeds 1 to 9.
SCALES: Mapping[str, Scale] = {
    "smoke": Scale((1, 2), (0.004, 0.016), 6, 8, Narrower(6, 6, 6), gap=2, context=8, batch_size=2),
    "cpu": Scale(_SEEDS, _octaves(0.002, 5), 450, 60, Narrower(50, 44, 38)),
    # Lanes side by side decompose every gradient at every update, used or not (see ``frugal``).
    "gpu": Scale(
        _SEEDS[:3], _octaves(0.000_5, 5), 1_000, 192, Narrower(156, 136, 112), 100,
        layers=4, heads=4, context=64, batch_size=32,
    ),
    "paper": Scale(
        _SEEDS[:1], _octaves(0.000_125, 6), 200_000, 768, Narrower(624, 540, 444), 200,
        layers=12, heads=12, context=256, batch_size=512, dataset=C4,
    ),
}  # fmt: skip


def parts(scale: Scale) -> Mapping[str, Part]:
    """One part a method: every peak with every seed."""
    base = RunConfig(
        task=published(choice("task", "text", context=scale.context, batch_size=scale.batch_size), scale.dataset),
        model=choice("model", "transformer", width=scale.width, layers=scale.layers, heads=scale.heads, tied=True),
        schedule=choice("schedule", "Cosine", peak=scale.peaks[0], warmup_steps=max(1, scale.steps // 10)),
        optimizer=choice("optimizer", "adamw", weight_decay=0.0),
        steps=scale.steps,
        record_every=max(1, scale.steps // 12),
    )

    def frugal(percent: int, kind: str = "columns") -> Choice:
        return choice("optimizer", "frugal_adamw", kind=kind, density_percent=percent, gap=scale.gap)

    rank = scale.width // 4
    chosen: Mapping[str, Mapping[str, Any]] = {
        "adamw": {},
        "adamw_half": {"model.width": scale.narrower.half},
        "adamw_quarter": {"model.width": scale.narrower.quarter},
        "adamw_none": {"model.width": scale.narrower.none},
        "frugal_half": {"optimizer": frugal(50)},
        "frugal_quarter": {"optimizer": frugal(25)},
        "frugal_svd": {"optimizer": frugal(20, "svd")},
        "frugal_none": {"optimizer": frugal(0)},
        "galore": {"optimizer": choice("optimizer", "galore", rank=rank, gap=scale.gap)},
        "lisa": {"optimizer": choice("optimizer", "lisa_adamw", gamma=scale.layers // 2)},
        "reset": {"optimizer": choice("optimizer", "reset_adamw", every=2 * scale.gap, which="restart")},
    }
    return {name: _part(base, setting, scale) for name, setting in chosen.items()}


def _part(base: RunConfig, setting: Mapping[str, Any], scale: Scale) -> Part:
    """A method with every peak and seed; what it draws differs between seeds too."""
    optimizer = setting.get("optimizer", base.optimizer)
    draws = optimizer.name in ("frugal_adamw", "lisa_adamw")
    seeds = [
        {**setting, "seed": seed, **({"optimizer": optimizer.with_argument("draws", float(seed))} if draws else {})}
        for seed in scale.seeds
    ]
    return Part(base, [axis("schedule.peak", scale.peaks), seeds])


EXPERIMENT = Experiment(
    name="memory_efficient",
    title="Optimizers that keep little state, at equal memory",
    paper="Zmushko et al. 2024, FRUGAL: Memory-Efficient Optimization by Reducing State Overhead for Scalable "
    "Training, arXiv 2411.07837; Zhao et al. 2024, GaLore, arXiv 2403.03507; Pan et al. 2024, LISA, arXiv 2403.17919",
    asks="FRUGAL, GaLore, LISA: does saved optimizer state buy more than a smaller model under AdamW?",
    question="Adam keeps two numbers beside every weight. FRUGAL keeps them for a part of every matrix and moves the "
    "rest by the sign of its gradient, GaLore for a low-rank projection, LISA for a few blocks at a time. Memory that "
    "is saved could as well hold a larger model under AdamW: is a model under one of these better than the smaller one "
    "that AdamW can train in the same bytes, which of them is the best in equal state, and what does each lose to "
    "AdamW with all of its state? Does FRUGAL train without any state of hidden matrices? What does it cost to begin "
    "Adam anew now and then?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    probes=tuple(Probe(measures.probe_of(name), name, probes.memory) for name in measures.METHODS),
    figures=(
        Figure(
            "memory",
            "Validation loss at each method's best rate against bytes of weights and optimizer state. Line: AdamW on "
            "models of several widths. Bars: 95% intervals of the mean over seeds.",
            tuple(measures.METHODS),
            views.memory,
        ),
        Figure(
            "rates",
            "Validation loss against the peak rate: AdamW (left) and the methods with less state (right). Dots: best "
            "of the grid.",
            tuple(measures.METHODS),
            views.rates,
        ),
    ),
    tables=(
        Table(
            "memory",
            "Every method: bytes of weights, of optimizer state, of both, and with gradients; the share of weights in "
            "hidden matrices, which can be split; tuned loss (nats) with its 95% interval, and less that of AdamW",
            tuple(measures.METHODS),
            measures.table,
        ),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(EXPERIMENT)
