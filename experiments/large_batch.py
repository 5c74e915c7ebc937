"""Large batches: how far layer-wise rates and rules of scaling hold, and what closes the gap that large batches leave.

python -m experiments.large_batch --preset=cpu --workdir=runs/large_batch
"""

import dataclasses
import functools
from collections.abc import Mapping

from experiments import large_batch_arms as arms
from experiments import large_batch_claims as claims
from experiments import large_batch_measures as measures
from experiments import large_batch_views as views
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig
from lrstudy.study.derived import Derived, Parts
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Part, axis
from lrstudy.study.records import Records
from lrstudy.tasks.digits import TRAIN_EXAMPLES


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        tuning_seeds: of the searches for rates.
        seeds: of the runs that decide, which no rate was chosen on.
        batches: of the methods and rules; the reference batch is the first.
        epochs: passes over the training set of these.
        large: batch of the network with batch norm, a multiple of the reference batch.
        regime_epochs: passes of that network.
        points: rates of a grid, an octave apart.
        least: lowest rate of the network with batch norm at the reference batch.
        width: of both networks.
    """

    tuning_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    batches: tuple[int, ...]
    epochs: int
    large: int
    regime_epochs: int
    points: int
    least: float = 0.02
    width: int = 32


# An epoch of batches of 32, 176 or 704 has 1408 examples; the full batch is all 1437. Rates are tuned on seeds 1 to 3.
# The papers' networks and data are not here: `paper` asks the same with 32 times the width and 10 times the updates.
_BATCHES = (arms.REFERENCE, 176, 704, TRAIN_EXAMPLES)
_TUNING, _DECIDING = (1, 2, 3), tuple(range(2101, 2109))
SCALES: Mapping[str, Scale] = {
    "smoke": Scale((1, 2), (8, 9), (arms.REFERENCE, TRAIN_EXAMPLES), 2, 64, 1, 3, width=8),
    "cpu": Scale(_TUNING, _DECIDING, _BATCHES, 30, 704, 40, 7),
    "gpu": Scale(_TUNING, tuple(range(2101, 2117)), _BATCHES, 30, 704, 40, 9, least=0.01, width=256),
    "paper": Scale(_TUNING, tuple(range(2101, 2117)), _BATCHES, 300, 704, 400, 11, least=0.005, width=1024),
}


def parts(scale: Scale) -> Parts:
    """Searches for rates, and what is decided with the rates that they find."""
    base = RunConfig(
        task=choice("task", "digits"),
        model=choice("model", "mlp", width=scale.width),
        schedule=choice("schedule", "Cosine", peak=0.01),
        optimizer=choice("optimizer", "adamw"),
        clip_norm=1.0,
        record_every=100,
    )
    normed = dataclasses.replace(
        base,
        clip_norm=None,
        model=choice("model", "batch_norm_mlp", width=scale.width),
        optimizer=choice("optimizer", "momentum"),
    )
    searches = axis("seed", scale.tuning_seeds)
    regime = arms.regime_tuning(scale.large, scale.regime_epochs, scale.least, scale.points)
    return {
        "tuning": Part(base, [arms.tuning_runs(scale.batches, scale.epochs, scale.points), searches]),
        "rules": Derived(("tuning",), functools.partial(_rules, scale=scale, base=base)),
        "regime_tuning": Part(normed, [regime, searches]),
        "regime": Derived(("regime_tuning",), functools.partial(_regime, scale=scale, base=normed)),
    }


def _rules(records: Records, *, scale: Scale, base: RunConfig) -> Part:
    """Every method and rule on fresh seeds."""
    return Part(base, [arms.deciding_runs(records, scale.epochs), axis("seed", scale.seeds)])


def _regime(records: Records, *, scale: Scale, base: RunConfig) -> Part:
    """Every arm on fresh seeds."""
    chosen = arms.regime_arms(records, scale.large, scale.regime_epochs).values()
    return Part(base, [[arm.assignment() for arm in chosen], axis("seed", scale.seeds)])


EXPERIMENT = Experiment(
    name="large_batch",
    title="Large batches: layer-wise rates, rules of scaling, ghosts and regimes",
    paper="You et al. 2020, Large Batch Optimization for Deep Learning: Training BERT in 76 minutes, arXiv 1904.00962; "
    "You et al. 2017, arXiv 1708.03888; Nado et al. 2021, arXiv 2102.06356; Hoffer et al. 2017, Train longer, "
    "generalize better, arXiv 1705.08741",
    asks="up to which batch do LAMB and LARS hold beside Adam and momentum, and what closes the gap that a "
    "large batch leaves?",
    question="With equal epochs a larger batch makes fewer updates. Do LARS and LAMB keep their loss up to larger "
    "batches than momentum and Adam when the rate of a small batch is kept or scaled by a rule, and is anything left "
    "of that when everyone's rate is searched for at every batch? And of the gap that a large batch leaves in a "
    "network with batch norm: how much does a scaled rate close, how much the noise of small ghosts, how much as many "
    "updates as the small batch makes?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    figures=(
        Figure(
            "batches",
            "Validation loss against the batch with equal epochs, one panel a method, one line a rule for the rate. "
            "Dotted: the margin over the method's loss at the smallest batch.",
            ("tuning", "rules"),
            views.batches,
        ),
        Figure(
            "searches",
            "Validation loss against the peak rate on the seeds that tuned it, one panel a method, one line a batch.",
            ("tuning",),
            views.searches,
        ),
        Figure(
            "regime",
            "Network with batch norm. Left: validation loss of every arm; the upper five add one ingredient after the "
            "other. Right: share of the gap between large and small batch that each closes. Bars: 95% intervals; "
            "points: seeds.",
            ("regime_tuning", "regime"),
            views.regime,
        ),
    ),
    tables=(
        Table(
            "held",
            f"Rise of the validation loss over that at batch {arms.REFERENCE}, in nats, with half of its 95% interval, "
            f"and the largest batch up to which it is at most {measures.MARGIN:g}",
            ("tuning", "rules"),
            measures.held_table,
        ),
        Table("tuning", "Best rate of every method and batch on the tuning seeds", ("tuning",), measures.tuning_table),
        Table(
            "regime",
            "Network with batch norm: every arm; losses in nats with half of the 95% interval",
            ("regime_tuning", "regime"),
            measures.arm_table,
        ),
        Table(
            "regime_tuning",
            "Network with batch norm: best rates on the tuning seeds",
            ("regime_tuning",),
            measures.regime_tuning_table,
        ),
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
