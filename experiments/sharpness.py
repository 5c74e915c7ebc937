"""The edge of stability: where optimizers hold the sharpness, what noise and warmups do to it, and a decay.

python -m experiments.sharpness --preset=cpu --workdir=runs/sharpness
"""

import dataclasses
from collections.abc import Mapping

from experiments import sharpness_claims as claims
from experiments import sharpness_measures as measures
from experiments import sharpness_probes as probes
from experiments import sharpness_views as views
from lrstudy.study.choices import Choice, choice
from lrstudy.study.config import RunConfig
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Part, axis
from lrstudy.study.probes import Probe


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        seeds: of samples, weights and order.
        text_seeds: of the text runs.
        steps: of descent and its momenta.
        adam_steps: of Adam.
        noisy_steps: of the runs from single examples, half of it where the threshold is exact.
        early_steps: of the runs that start above the edge; a warmup takes five times as many.
        text_steps: of the text runs: the first fifth warms up, the last fifth decays.
        width: of the tanh network.
        text_width: of the transformer.
        layers: of the transformer.
        heads: of the transformer.
        context: bytes of a window.
        batch_size: windows a step.
    """

    seeds: tuple[int, ...]
    text_seeds: tuple[int, ...]
    steps: int = 1_500
    adam_steps: int = 2_000
    noisy_steps: int = 40_000
    early_steps: int = 200
    text_steps: int = 1_000
    width: int = 64
    text_width: int = 64
    layers: int = 2
    heads: int = 2
    context: int = 64
    batch_size: int = 16


# The seeds decide; sizes, rates and thresholds were chosen on seeds 1 to 3. Sizes of `gpu` and `paper` are ours too.
_SEEDS, _TEXT_SEEDS = (1001, 1002, 1003, 1004, 1005), (1001, 1002, 1003)
SCALES: Mapping[str, Scale] = {
    "smoke": Scale((1001, 1002), (1001, 1002), 40, 40, 400, 20, 40, 8, 16, 1, 2, 16, 4),
    "cpu": Scale(_SEEDS, _TEXT_SEEDS),
    "gpu": Scale(_SEEDS, _TEXT_SEEDS, 4_000, 8_000, 400_000, 200, 4_000, 64, 384, 6, 6, 256, 64),
    "paper": Scale(_SEEDS, _TEXT_SEEDS, 4_000, 8_000, 400_000, 200, 50_000, 64, 768, 12, 12, 1_024, 256),
}


def parts(scale: Scale) -> Mapping[str, Part]:
    """Full batches at the edge, Adam there, single examples, starts above the edge, and text."""
    seeds = axis("seed", scale.seeds)
    batches = axis("task.batch_size", (1, None))
    samples = [{"seed": seed, "task.data_seed": seed} for seed in scale.seeds]
    methods = [
        {"optimizer": method.optimizer, "schedule.peak": method.rate * measures.GAMMA**2} for method in measures.METHODS
    ]
    descent = _regression(scale, scale.steps, measures.GAMMA, samples=512)
    adam = dataclasses.replace(
        _regression(scale, scale.adam_steps, measures.GAMMA, samples=256),
        optimizer=choice("optimizer", "adam"),
        sharpness=choice("sharpness", "preconditioned", every=_every(scale.adam_steps)),
    )
    catapult = _regression(scale, scale.early_steps, 1.0, layers=0, width=4 * scale.width)
    exact = _examples("orthogonal_regression", scale.noisy_steps // 2)
    return {
        "descent": Part(descent, [methods, seeds], kept_steps=(scale.steps // 2,)),
        "adam": Part(adam, [axis("schedule.peak", measures.ADAM_RATES), seeds]),
        "exact": Part(exact, [batches, axis("schedule.peak", measures.EXACT_RATES), samples]),
        "relu": Part(
            _examples("relu_regression", scale.noisy_steps),
            [batches, axis("schedule.peak", measures.RELU_RATES), samples],
        ),
        "diagonal": Part(
            _examples("diagonal_regression", scale.noisy_steps),
            [batches, axis("schedule.peak", measures.DIAGONAL_RATES), samples],
        ),
        "catapult": Part(catapult, [axis("schedule.peak", (measures.LOW, measures.HIGH)), seeds]),
        "warmup": Part(
            _regression(scale, 5 * scale.early_steps, measures.GAMMA),
            [axis("schedule", _warmups(scale)), seeds],
        ),
        "text": Part(_text(scale), [axis("sharpness", _operators(scale)), axis("seed", scale.text_seeds)]),
    }


def _every(steps: int) -> int:
    return max(1, steps // 50)


def _regression(scale: Scale, steps: int, gamma: float, **arguments: object) -> RunConfig:
    every = _every(steps)
    return RunConfig(
        task=choice("task", "tanh_regression", gamma=gamma, **{"width": scale.width, **arguments}),
        schedule=choice("schedule", "Constant", peak=1.0),
        optimizer=choice("optimizer", "sgd"),
        steps=steps,
        record_every=max(1, every // 5),
        sharpness=choice("sharpness", "hessian", every=every),
    )


def _warmups(scale: Scale) -> list[Choice]:
    peak = measures.WARMUP_RATE * measures.GAMMA**2
    return [choice("schedule", "Constant", peak=peak, warmup_steps=warmup) for warmup in (0, 4 * scale.early_steps)]


def _examples(task: str, steps: int) -> RunConfig:
    every = max(1, steps // 40)
    return RunConfig(
        task=choice("task", task),
        schedule=choice("schedule", "Constant", peak=1.0),
        optimizer=choice("optimizer", "sgd"),
        steps=steps,
        record_every=every,
        evaluate_every=every,
    )


def _operators(scale: Scale) -> list[Choice]:
    every = max(1, scale.text_steps // 40)
    return [choice("sharpness", name, every=every, batches=4, seed=0) for name in ("hessian", "preconditioned")]


def _text(scale: Scale) -> RunConfig:
    every = max(1, scale.text_steps // 40)
    return RunConfig(
        task=choice("task", "text", context=scale.context, batch_size=scale.batch_size, validation_windows=128),
        model=choice("model", "transformer", width=scale.text_width, layers=scale.layers, heads=scale.heads),
        schedule=choice(
            "schedule",
            "WSD",
            peak=measures.TEXT_RATE,
            warmup_steps=scale.text_steps // 5,
            decay_fraction=0.2,
            shape="linear",
        ),
        optimizer=choice("optimizer", "adamw", b2=0.99, weight_decay=0.1),
        clip_norm=1.0,
        steps=scale.text_steps,
        record_every=every,
        evaluate_every=0,
        sharpness=None,
    )


EXPERIMENT = Experiment(
    name="sharpness",
    title="The edge of stability: what holds the sharpness, and what moves it",
    paper="Cohen et al. 2021, Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability, arXiv "
    "2103.00065, and 2022, Adaptive Gradient Methods at the Edge of Stability, arXiv 2207.14484; Wu & Su 2023, The "
    "Implicit Regularization of Dynamical Stability in Stochastic Gradient Descent, arXiv 2305.17490; Lewkowycz et al. "
    "2020, The Large Learning Rate Phase of Deep Learning: The Catapult Mechanism, arXiv 2003.02218; Gilmer et al. "
    "2021, A Loss Curvature Perspective on Training Instability in Deep Learning, arXiv 2110.04369",
    asks="where do optimizers hold the sharpness, and what do noise, warmups and decays do to it?",
    question="Of a quadratic, every optimizer has a sharpness, the largest eigenvalue of the Hessian, above which its "
    "steps grow. Do networks that are trained by it on the whole sample sharpen up to just that value and stay there, "
    "with momentum of each kind and with Adam? From single examples, is it the trace that the rate bounds, and do "
    "larger rates end at a smaller one? Does the sharpness fall at once where the rate is above 2 / sharpness from the "
    "start, and all along a warmup? And does it do on text what the rate does, upside down: fall as the rate rises, "
    "and rise again during a decay?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    probes=(
        Probe("relu_traces", "relu", probes.traces),
        Probe("diagonal_traces", "diagonal", probes.traces),
        Probe("descent_spectrum", "descent", probes.spectra),
        Probe("text_spectrum", "text", probes.spectra),
    ),
    figures=(
        Figure("edge", "Sharpness over the optimizer's threshold, and rate times Adam's preconditioned sharpness, "
               "against updates.", ("descent", "adam"), views.edge),
        Figure("noise", "Left: loss of the sample after training over before, against the rate in units of 2 / trace. "
               "Middle, right: trace of the Hessian after training against the rate.", ("exact", "relu", "diagonal"),
               views.noise),
        Figure("above", "Left, middle: training loss, and rate times sharpness, from below and from above the edge. "
               "Right: sharpness along a warmup to a large rate, and without.", ("catapult", "warmup"), views.above),
        Figure("text", "Transformer on text: learning rate, sharpness (of the loss over four fixed batches) and "
               "Adam's preconditioned sharpness against updates.", ("text",), views.text),
        Figure("spectra", "Density of the Hessian's eigenvalues, by stochastic Lanczos quadrature, of the first "
               "seed's run. Dashed: 2 / rate.", ("descent", "text"), views.spectra),
    ),
    tables=(
        Table("edges", "Whole sample: sharpness over the threshold before training and late, mean over seeds",
              ("descent", "adam"), views.edges_table),
        Table("traces", "Trace of the Hessian after training, mean over seeds", ("relu", "diagonal"),
              views.traces_table),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(EXPERIMENT)
