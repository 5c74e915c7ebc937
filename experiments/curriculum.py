"""Curricula and the decay of the learning rate, and upsampling a domain at the end of training.

"How LR decay wastes your best data in curriculum-based pretraining" (arXiv 2511.18903); "Does your data spark joy?
Performance gains from domain upsampling at the end of training" (arXiv 2406.03476).

python -m experiments.curriculum --preset=cpu --workdir=runs/curriculum
"""

import dataclasses
import functools
import math
from collections.abc import Mapping

from experiments import curriculum_arms as arms
from experiments import curriculum_claims as claims
from experiments import curriculum_views as views
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig
from lrstudy.study.derived import Derived, Parts
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Axis, Part, axis
from lrstudy.study.probes import Probe
from lrstudy.study.records import Records
from lrstudy.tasks.digits import TRAIN_EXAMPLES


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        tuning_seeds: choose every arm's peak.
        seeds: decide the claims about order; they choose nothing.
        text_seeds: decide the claims about upsampling.
        samples: of the regression, one a step.
        chains: independent regressions of a run.
        digits_batch: examples a step; a run is one pass.
        text_steps: of the text runs.
        text_peak: of the text runs, which decay linearly to zero.
    """

    tuning_seeds: tuple[int, ...]
    seeds: tuple[int, ...]
    text_seeds: tuple[int, ...]
    samples: int
    chains: int
    digits_batch: int
    text_steps: int
    text_peak: float
    width: int = 32
    layers: int = 2
    heads: int = 2
    context: int = 32
    batch_size: int = 8


_TUNING, _DECIDING, _TEXT = tuple(range(101, 105)), tuple(range(201, 217)), (201, 202, 203)
SCALES: Mapping[str, Scale] = {
    "smoke": Scale((101, 102), (201, 202), (201, 202), 64, 4, 48, 40, 0.006, width=16, layers=1, context=16),
    "cpu": Scale(_TUNING, _DECIDING, _TEXT, 1_024, 16, 8, 500, 0.006),
    "gpu": Scale(_TUNING, _DECIDING, _TEXT, 4_096, 64, 8, 4_000, 0.002, 384, 6, 6, 256, 64),
    "paper": Scale(_TUNING, _DECIDING, _TEXT, 65_536, 64, 8, 119_000, 0.00012, 4_096, 32, 32, 4_096, 2_048),
}

REGRESSION_PEAKS, REGRESSION_SAMPLES = (0.00625, 0.0125, 0.025, 0.05, 0.1, 0.2), 1_024
DIGITS_PEAKS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)


def parts(scale: Scale) -> Parts:
    """The parts; those that decide about order follow from those that tune its peaks."""
    bases = {"regression": _regression(scale), "digits": _digits(scale)}
    peaks = {"regression": regression_peaks(scale.samples), "digits": DIGITS_PEAKS}
    found: dict[str, Part | Derived] = {}
    for name, base in bases.items():
        tuning = arms.tuning_of(name)
        found[tuning] = _tuning(base, peaks[name], scale)
        found[name] = Derived((tuning,), functools.partial(_deciding, name=name, base=base, seeds=scale.seeds))
    return {**found, "upsampling": Part(_text(scale), [upsampled(scale.text_steps), axis("seed", scale.text_seeds)])}


def regression_peaks(samples: int) -> tuple[float, ...]:
    """The grid of the regression, lower for longer runs.

    By the exact expectation the best peaks of every arm fall at least as the root of the number of samples, from 1,024
    on.
    """
    factor = math.sqrt(REGRESSION_SAMPLES / max(samples, REGRESSION_SAMPLES))
    return tuple(factor * peak for peak in REGRESSION_PEAKS)


def _regression(scale: Scale) -> RunConfig:
    sizes = {"samples": scale.samples, "batch_size": 1, "chains": scale.chains}
    return _one_pass(RunConfig(
        task=choice("task", "noisy_regression", **sizes),
        schedule=arms.schedules_of(arms.CONSTANT, 0.05),
        optimizer=choice("optimizer", "sgd"),
        steps=scale.samples,
    ))  # fmt: skip


def _digits(scale: Scale) -> RunConfig:
    return _one_pass(RunConfig(
        task=choice("task", "noisy_digits", batch_size=scale.digits_batch),
        model=choice("model", "mlp", width=64, layers=1),
        schedule=arms.schedules_of(arms.CONSTANT, 0.2),
        optimizer=choice("optimizer", "sgd"),
        steps=TRAIN_EXAMPLES // scale.digits_batch,
    ))  # fmt: skip


def _one_pass(config: RunConfig) -> RunConfig:
    """With some twenty rows a run."""
    every = max(1, config.steps // 20)
    return dataclasses.replace(config, record_every=every, evaluate_every=every)


def _tuning(base: RunConfig, peaks: tuple[float, ...], scale: Scale) -> Part:
    kinds = (arms.CONSTANT, arms.MODERATE, arms.DECAY)
    schedules = [arms.schedules_of(kind, peak) for kind in kinds for peak in peaks]
    axes = [
        axis("task.ordering", (arms.RANDOM, arms.ORDERED)),
        axis("schedule", schedules),
        axis("seed", scale.tuning_seeds),
    ]
    return Part(base, axes, kept_steps=arms.averaged_steps(base.steps))


def _deciding(records: Records, *, name: str, base: RunConfig, seeds: tuple[int, ...]) -> Part:
    """The tuned runs on fresh seeds."""
    axes = [arms.chosen_runs(records, name), axis("seed", seeds)]
    return Part(base, axes, kept_steps=arms.averaged_steps(base.steps))


def _text(scale: Scale) -> RunConfig:
    """Code of the Python library as the general domain, the English of its reference as the target."""
    every = max(1, scale.text_steps // 20)
    sizes = {"context": scale.context, "batch_size": scale.batch_size, "validation_windows": 256}
    return RunConfig(
        task=choice("task", "mixed_text", paths=("stdlib_code", "topics"), **sizes),
        model=choice("model", "transformer", width=scale.width, layers=scale.layers, heads=scale.heads),
        schedule=choice("schedule", "Linear", peak=scale.text_peak, warmup_steps=scale.text_steps // 20),
        optimizer=choice("optimizer", "adamw", b2=0.99, weight_decay=0.1),
        clip_norm=1.0,
        steps=scale.text_steps,
        record_every=every,
        evaluate_every=every,
    )


def upsampled(steps: int) -> Axis:
    """The target at its base share throughout, and at larger shares during the last of the steps.

    Upsampled through all of them, the first step alone has the base share: a task's stages have at least one.
    """
    stages = [(claims.MAIN_FRACTION, claims.BASE_SHARE)]
    stages += [(fraction, share) for fraction in claims.FRACTIONS for share in claims.SHARES]
    stages += [(fraction, claims.LONG_SHARE) for fraction in claims.LONG_FRACTIONS]
    return [
        {"task.boundaries": (max(1, steps - round(fraction * steps)),), "task.shares": (claims.BASE_SHARE, share)}
        for fraction, share in stages
    ]


_PAIR = {name: (arms.tuning_of(name), name) for name in ("regression", "digits")}

EXPERIMENT = Experiment(
    name="curriculum",
    title="What a decay of the learning rate does to a curriculum, and upsampling at the end",
    paper="How LR decay wastes your best data in curriculum-based pretraining, arXiv 2511.18903; Does your data spark "
    "joy? Performance gains from domain upsampling at the end of training, arXiv 2406.03476",
    asks="does a decay waste the best data, do averages of checkpoints not; what does upsampling at the end do?",
    question="If samples are visited from the noisiest to the cleanest, the best data comes when a decaying learning "
    "rate can no longer use it. How much does the order gain under a constant rate, a moderate decay, a decay to zero, "
    "and an average of the last checkpoints instead of a decay? And how do the losses on a target domain and on the "
    "rest follow the target's share during the last tenths of training?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    probes=tuple(Probe(f"{part}_averages", part, arms.averages) for pair in _PAIR.values() for part in pair),
    figures=(
        Figure("regression_gain", "Regression with noisy labels: what the order gains every arm, each at its tuned "
               "peak; mean and 95% interval over seeds, and the exact expectation.",
               _PAIR["regression"], views.regression_gain),
        Figure("digits_gain", "Digits with corrupted labels: what the order gains every arm, each at its tuned peak; "
               "mean and 95% interval over seeds.", _PAIR["digits"], views.digits_gain),
        Figure("regression_losses", "Regression: the losses behind the gains.",
               _PAIR["regression"], views.regression_losses),
        Figure("digits_losses", "Digits: the losses behind the gains.", _PAIR["digits"], views.digits_losses),
        Figure("upsampling", "Text: losses on both domains against the target's share at the end.",
               ("upsampling",), views.upsampling),
        Figure("durations", "Text: sum of both losses against how long the target is upsampled.",
               ("upsampling",), views.durations),
        Figure("regression_peaks", "Regression: loss against the peak on the tuning seeds.",
               (arms.tuning_of("regression"),), views.regression_peaks),
        Figure("digits_peaks", "Digits: loss against the peak on the tuning seeds.",
               (arms.tuning_of("digits"),), views.digits_peaks),
    ),
    tables=(
        Table("regression", "Regression: excess loss of every arm at its tuned peak", _PAIR["regression"],
              views.regression_table),
        Table("digits", "Digits: validation loss (nats) of every arm at its tuned peak", _PAIR["digits"],
              views.digits_table),
        Table("regression_differences", "Regression: the differences of excess losses behind a5 to a7, beside those of "
              "the exact expectations, and which of them are ties", _PAIR["regression"], claims.differences),
        Table("trends", "Text: smallest step (nats per byte) of the mean losses from one share of the target to the "
              "next, in the direction that is said", ("upsampling",), claims.trend_table),
        Table("upsampling", "Text: validation losses (nats per byte) by duration and share", ("upsampling",),
              claims.upsampling_table),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(EXPERIMENT)
