"""Laws of loss curves: fitted to four schedules, asked for five others, and for the best one, which is then trained.

python -m experiments.loss_laws --preset=cpu --workdir=runs/loss_laws
"""

import dataclasses
from collections.abc import Mapping

from experiments import loss_laws_claims as claims
from experiments import loss_laws_measures as measures
from experiments import loss_laws_views as views
from experiments.loss_laws_measures import FITTED, PREDICTED
from lrstudy.study.choices import Choice, choice
from lrstudy.study.config import RunConfig
from lrstudy.study.derived import Derived, Parts
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Assignment, Part, axis
from lrstudy.study.records import Records


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        seeds: of the curves that are fitted and predicted.
        deciding: of the best schedule and of those made by hand.
        steps: updates of a short run; a long one has twice as many.
        peak: of all schedules.
        batch_size: windows of an update.
        width: of the transformer.
        layers: of the transformer.
        heads: of the transformer.
        context: bytes of a window.
    """

    seeds: tuple[int, ...]
    deciding: tuple[int, ...]
    steps: int = 1_600
    peak: float = 0.008
    batch_size: int = 16
    width: int = 32
    layers: int = 1
    heads: int = 2
    context: int = 32


# The seeds decide; the peak, the schedules and the thresholds were chosen on seeds 1 to 8.
SCALES: Mapping[str, Scale] = {
    "smoke": Scale((1201, 1202), (1211, 1212), 240, 0.02, 2, 8, 0, 1, 16),
    "cpu": Scale(tuple(range(1201, 1207)), (1211, 1212, 1213, 1214, 1215)),
    "gpu": Scale(tuple(range(1201, 1207)), tuple(range(1211, 1219)), 20_000, 0.002, 64, 256, 4, 4, 256),
    "paper": Scale((1201,), (1211, 1212), 24_000, 3e-4, 128, 768, 12, 12, 4_096),
}


def parts(scale: Scale) -> Parts:
    """The curves; what each law thinks best of all schedules; and what people make by hand, on the same seeds."""
    curves = [run_of(scale, name) for name in (*FITTED, *PREDICTED)]
    hand = [run_of(scale, name) for name in measures.HAND_MADE]
    return {
        "curves": Part(base(scale), [curves, axis("seed", scale.seeds)]),
        "hand": Part(base(scale), [hand, axis("seed", scale.deciding)]),
        "best": Derived(("curves",), lambda records: _best(scale, records)),
    }


def base(scale: Scale) -> RunConfig:
    """What all runs of the study share."""
    every = scale.steps // 40
    return RunConfig(
        task=choice("task", "text", context=scale.context, batch_size=scale.batch_size),
        model=choice("model", "transformer", width=scale.width, layers=scale.layers, heads=scale.heads),
        schedule=choice("schedule", "Constant", peak=scale.peak),
        optimizer=choice("optimizer", "adamw", b2=0.95, weight_decay=0.1),
        clip_norm=1.0,
        steps=scale.steps,
        record_every=every,
        evaluate_every=every,
    )


def run_of(scale: Scale, name: str) -> Assignment:
    """The length and the schedule of a run by its name in ``measures``."""
    return {"steps": scale.steps * measures.LENGTHS.get(name, 1), "schedule": schedule(scale, name)}


def schedule(scale: Scale, name: str) -> Choice:
    """A schedule by its name in ``measures``."""
    common = {"peak": scale.peak, "warmup_steps": scale.steps // 20}
    kind, _, rest = name.partition("_")
    end = 0.0 if rest.endswith("to_0") else measures.END * scale.peak
    if kind == "cosine":
        return choice("schedule", "Cosine", **common, end=end)
    if kind == "constant":
        return choice("schedule", "Constant", **common)
    if kind == "two":
        factor = float(rest.removeprefix("stages_")) / 100
        return choice("schedule", "StepDecay", **common, boundaries=(scale.steps // 2,), factors=(factor,))
    share, shape = rest.split("_")[:2]
    return choice("schedule", "WSD", **common, decay_fraction=float(share) / 100, shape=shape, end=end)


def _best(scale: Scale, records: Records) -> Part:
    """The schedule that each law likes best, made from its fit to the curves."""
    found = measures.best_schedules(records.part("curves"), scale.steps, scale.peak)
    runs = [{"schedule": choice("schedule", "Tabulated", values=values)} for values in found.values()]
    return Part(base(scale), [runs, axis("seed", scale.deciding)])


EXPERIMENT = Experiment(
    name="loss_laws",
    title="From loss curves to predictions, and to a better schedule",
    paper="Tissue et al. 2024, Scaling Law with Learning Rate Annealing, arXiv 2408.11029; Luo et al. 2025, A "
    "Multi-Power Law for Loss Curve Prediction Across Learning Rate Schedules, arXiv 2503.12811; Li et al. 2025, "
    "Functional Scaling Laws in Kernel Regression, arXiv 2509.19189",
    asks="does a law with a few parameters predict a run's losses from its rates, and is the schedule it "
    "likes best any good?",
    question="A law with a handful of parameters is said to give the whole loss curve of a run from its learning rates "
    "alone. Fitted to four schedules of a small transformer on real text, how well do the laws predict five others, "
    "one of them twice as long? And is the schedule that a law thinks best as good as the best that people make by "
    "hand, when both are trained?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    figures=(
        Figure(
            "curves",
            "Validation loss (nats/byte) against updates, mean over seeds (dots), and what the Multi-Power Law says "
            "(lines). Left: the four schedules that it was fitted to; right: those that it predicts.",
            ("curves",),
            views.curves,
        ),
        Figure(
            "residuals",
            "Predicted less measured loss, in per cent, of the schedules that were not fitted; one panel a law.",
            ("curves",),
            views.residuals,
        ),
        Figure(
            "best",
            "Left: the schedules that laws think best, and those made by hand. Right: final validation loss over that "
            "of the best one made by hand (bars: standard error of the paired difference; crosses: predicted).",
            ("curves", "hand", "best"),
            views.best,
        ),
    ),
    tables=(
        Table("scores", "How well each law predicts the schedules that it was not fitted to", ("curves",),
              measures.score_table),
        Table("fits", "Parameters, with 95% bootstrap intervals", ("curves",), measures.fit_table),
        Table("best", "Final validation loss (nats/byte), mean and standard error over seeds, and what laws predict",
              ("curves", "hand", "best"), measures.best_table),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(EXPERIMENT)
