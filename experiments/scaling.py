"""Scaling with parameters and data: a fitted law, one epoch or many, fixed data, and what double descent is made of.

python -m experiments.scaling --preset=cpu --workdir=runs/scaling
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from experiments import scaling_claims as claims
from experiments import scaling_features as features
from experiments import scaling_fixed as fixed
from experiments import scaling_probes as probes
from experiments import scaling_repeats as repeats
from experiments import scaling_views as views
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
        seeds: of text runs: weights, order and, where data are few, which.
        members: of an ensemble on each fixed set.
        samples: of random features.
        widths: of the transformers of the law.
        windows: that they are trained on, in one pass; the last of either is held out of the fit.
        rates: of which the best is taken for every width and number of windows.
        rate: of the runs on repeated and on fixed data.
        repeats_width: of the model that sees data again.
        budget: windows that a run sees in the parts on repetition.
        fixed_windows: of the fixed set.
        fixed_widths: of the models trained on it; the first is the ensembles'.
        layers: of all transformers.
        context: bytes of a window of the law's runs.
        repeats_context: of those on repeated and on fixed data, whose windows are parts of the text without overlap.
        batch_size: windows an update; half of it on the fixed set.
    """

    seeds: tuple[int, ...]
    members: tuple[int, ...]
    samples: tuple[int, ...]
    widths: tuple[int, ...]
    windows: tuple[int, ...]
    rates: tuple[float, ...] = (0.01, 0.02, 0.04)
    rate: float = 0.01
    repeats_width: int = 32
    budget: int = 12_288
    fixed_windows: int = 256
    fixed_widths: tuple[int, ...] = (8, 16, 32)
    layers: int = 1
    heads: int = 2
    context: int = 32
    repeats_context: int = 32
    batch_size: int = 16


# The text that comes with Python is too short for the passes of ``paper``: name another by --config.repeats.task.path
# and --config.sizes.task.path.
# The seeds decide; sizes, rates, decays and thresholds were chosen on seeds 1 to 9.
_SEEDS, _MEMBERS, _SAMPLES = (1101, 1102, 1103), tuple(range(1101, 1109)), tuple(range(1101, 1121))
SCALES: Mapping[str, Scale] = {
    "smoke": Scale(
        (1101, 1102), (1101, 1102, 1103), (1101, 1102), (4, 6, 8, 10), (64, 128, 256, 512), (0.02,), 0.02, 8, 640, 16,
        (4, 8), heads=1, context=8, repeats_context=8, batch_size=8,
    ),
    "cpu": Scale(_SEEDS, _MEMBERS, _SAMPLES, (8, 12, 20, 32), (2_048, 4_096, 8_192, 16_384)),
    "gpu": Scale(
        _SEEDS, _MEMBERS, tuple(range(1101, 1165)), (32, 48, 64, 96, 128, 192), tuple(2**i for i in range(12, 17)),
        (0.001, 0.002, 0.004, 0.008), 0.002, 128, 65_536, 2_048, (32, 64, 128, 256), 4, 4, 128, 128, 32,
    ),
    "paper": Scale(
        _SEEDS, _MEMBERS, tuple(range(1101, 1165)), (256, 384, 512, 768, 1_024, 1_536),
        tuple(2**i for i in range(20, 25)), (0.000_25, 0.000_5, 0.001, 0.002), 0.000_5, 1_024, 32_768, 4_096,
        (512, 768, 1_024, 1_536), 12, 16, 2_048, 512, 256,
    ),
}  # fmt: skip


def parts(scale: Scale) -> Parts:
    """The grid of the law, repetition, fixed data and its ensembles, random features."""
    return {
        "sizes": Part(_text(scale, "text"), [_grid(scale), axis("seed", scale.seeds)]),
        "repeats": Part(
            _text(scale, "repeated_text"),
            [_repeated(scale), [{"seed": seed, "task.data_seed": seed} for seed in scale.seeds]],
        ),
        "fixed": Part(
            _fixed(scale),
            [
                axis("model.width", scale.fixed_widths),
                _epochs(scale),
                axis("optimizer.weight_decay", fixed.DECAYS),
                [{"seed": seed, "task.data_seed": seed} for seed in scale.seeds],
            ],
        ),
        "members": Derived(("fixed",), functools.partial(_members, scale)),
        "random_features": Part(
            RunConfig(
                task=choice("task", "random_features"),
                schedule=choice("schedule", "Constant", peak=1.0),
                optimizer=choice("optimizer", "sgd"),
                steps=features.FEW_STEPS,
            ),
            [axis("task.features", features.TRAINED), axis("task.data_seed", scale.samples)],
        ),
    }


def _text(scale: Scale, task: str) -> RunConfig:
    """A decoder on the source of the standard library, whose rate decays linearly to zero."""
    context = scale.context if task == "text" else scale.repeats_context
    sizes = {"context": context, "batch_size": scale.batch_size, "validation_windows": 512}
    return RunConfig(
        task=choice("task", task, **sizes),
        model=choice("model", "transformer", width=scale.repeats_width, layers=scale.layers, heads=scale.heads),
        schedule=choice("schedule", "Linear", peak=scale.rate),
        optimizer=choice("optimizer", "adamw", b2=0.98, weight_decay=0.1),
        clip_norm=1.0,
        steps=scale.budget // scale.batch_size,
    )


def _length(steps: int) -> dict[str, Any]:
    """So many updates, a twentieth of them warmup."""
    return {"steps": steps, "schedule.warmup_steps": steps // 20}


def _grid(scale: Scale) -> list[Assignment]:
    return [
        {"model.width": width, "schedule.peak": rate, **_length(windows // scale.batch_size)}
        for width in scale.widths
        for windows in scale.windows
        for rate in scale.rates
    ]


def _repeated(scale: Scale) -> list[Assignment]:
    """As many updates on fewer and fewer windows; fewer updates on windows seen once; a slice seen again and again."""
    steps = scale.budget // scale.batch_size
    found: list[Assignment] = [
        {"task.unique": max(1, scale.budget // epochs), **_length(steps)} for epochs in repeats.EPOCHS
    ]
    found += [{"task.unique": scale.budget, **_length(steps // share)} for share in repeats.SHORTER]
    for every in repeats.SLICED:
        visits = scale.budget // every
        sizes = dict.fromkeys(max(1, visits // times) for times in (*repeats.TIMES, visits))
        kept = {"task.unique": scale.budget - visits, "task.every": every}
        found += [{**kept, "task.repeated": size, **_length(steps)} for size in sizes]
    return found


def _fixed(scale: Scale) -> RunConfig:
    base = _text(scale, "repeated_text")
    batch = max(1, scale.batch_size // 2)
    task = dataclasses.replace(base.task, arguments={**base.task.arguments, "unique": scale.fixed_windows})
    return dataclasses.replace(base, task=task.with_argument("batch_size", batch))


def _epochs(scale: Scale) -> list[Assignment]:
    updates = scale.fixed_windows // max(1, scale.batch_size // 2)
    return [_length(max(1, epochs * updates)) for epochs in fixed.EPOCHS]


def _members(scale: Scale, records: Records) -> Part:
    """The narrowest model at its tuned epochs and decay, as often as an ensemble has members, on every fixed set."""
    steps, decay = fixed.tuned(records.part("fixed"), scale.fixed_widths[0])
    base = _fixed(scale)
    runs = [{"model.width": scale.fixed_widths[0], "optimizer.weight_decay": decay, **_length(steps)}]
    return Part(base, [runs, axis("task.data_seed", scale.seeds), axis("seed", scale.members)])


_MEAN = "Line: mean over seeds; band: range"

EXPERIMENT = Experiment(
    name="scaling",
    title="Scaling with parameters and data: fitted, repeated, fixed; and double descent",
    paper="Hoffmann et al. 2022, Training Compute-Optimal Large Language Models, arXiv 2203.15556; Komatsuzaki 2019, "
    "One Epoch Is All You Need, arXiv 1906.06669; Hernandez et al. 2022, Scaling Laws and Interpretability of Learning "
    "from Repeated Data, arXiv 2205.10487; Kim et al. 2025, Pre-training under infinite compute, arXiv 2509.14786; "
    "Bahri et al. 2021, Explaining Neural Scaling Laws, arXiv 2102.06701",
    asks="does the loss follow a law of parameters and data, what do repeated data cost, what does fixed data "
    "leave to gain, what is double descent?",
    question="Does the loss of small transformers follow E + A N^-alpha + B D^-beta, well enough to say what a larger "
    "model or a longer run will reach? What do repetitions cost beside fresh data, and is a part that is seen again "
    "worst at some number of repetitions? Where data are fixed and compute is not, do a tuned weight decay and "
    "ensembles keep larger models better? And is double descent in the model's size a matter of how far the "
    "optimization goes?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    probes=(
        Probe("ensembles", "members", probes.ensembles),
        Probe("solved", "random_features", probes.solved),
        Probe("regimes", "random_features", probes.regimes),
    ),
    figures=(
        Figure(
            "sizes",
            "Validation loss (nats a byte) of every size at its best rate against the bytes trained on, with the law "
            "fitted to the filled points; hollow: held out. Right: what the law says of these against what was "
            "measured.",
            ("sizes",),
            views.sizes,
        ),
        Figure(
            "repeats",
            "Equal updates. Left: validation and training loss (nats a byte) against passes over the windows. Right: "
            "a tenth or half of the windows from a slice: validation loss against how often that is seen; dotted: all "
            f"data fresh. {_MEAN}.",
            ("repeats",),
            views.repeats,
        ),
        Figure(
            "fixed",
            "Fixed data. Left: validation loss (nats a byte) of the widest model against passes, by weight decay. "
            "Middle: against width, passes tuned with and without weight decay. Right: of ensembles that average "
            f"logits, against their size, with E + A / K. {_MEAN}.",
            ("fixed", "members"),
            views.fixed,
        ),
        Figure(
            "random_features",
            "Random ReLU features of 100 noisy samples: test error against how many, mean over samples; crosses: an "
            "independent computation. Right: condition number of the features' Gram matrix, median.",
            ("random_features",),
            views.random_features,
        ),
        Figure(
            "regimes",
            "A linear teacher. Left: what is missing to the limit against samples (features fixed) and against "
            "features (samples fixed). Right: error against either, the other without limit. Mean over draws.",
            ("random_features",),
            views.regimes,
        ),
    ),
    tables=(
        Table("law", "The law fitted to the cells that are not held out, and to all", ("sizes",), views.law_table),
        Table("sizes", "Validation loss (nats a byte) of every cell at its best rate, and the law's", ("sizes",),
              views.sizes_table),
        Table("repeats", "Validation loss (nats a byte) of the runs on repeated data", ("repeats",),
              views.repeats_table),
        Table("fixed", "Validation loss (nats a byte) on fixed data: best passes and weight decay of every width",
              ("fixed",), views.fixed_table),
        Table("random_features", "Random features: test error by how many, mean over samples, beside an independent "
              "computation's", ("random_features",), views.features_table),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(EXPERIMENT)
