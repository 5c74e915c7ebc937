"""Is sharpness the same at every width where learning rates transfer? muP beside NTK, over widths and depths.

python -m experiments.sharpness_transfer --preset=cpu --workdir=runs/sharpness_transfer
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from experiments import sharpness_transfer_claims as claims
from experiments import sharpness_transfer_probes as probes
from experiments import sharpness_transfer_views as views
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Assignment, Part, axis
from lrstudy.study.probes import Probe

EXAMPLES = 128
"""Of the digits, on which sharpness is measured; of whole batches."""
RATE = 2.0
"""Of the regression, times gamma squared: with it 2 / rate is the sharpness at which descent becomes unstable."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The runs of one part.

    Attributes:
        sizes: widths, or numbers of hidden matrices; the first is the base.
        steps: updates of a run.
        every: updates from one measurement of the sharpness to the next.
        peak: rate; of the regressions over gamma squared.
        batch: examples a step, on the digits.
    """

    sizes: tuple[int, ...]
    steps: int
    every: int
    peak: float = RATE
    batch: int = 128


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        seeds: of data and weights.
        regression: widths of the tanh network; steps a multiple of 6.
        rates: widths whose rate is swept.
        grid: of the sweep, over gamma squared.
        depth: hidden matrices of the residual network.
        depth_width: its width.
        digits: widths of the perceptron.
        convnet: channels.
    """

    seeds: tuple[int, ...]
    regression: Sizes
    rates: Sizes
    grid: tuple[float, ...]
    depth: Sizes
    depth_width: int
    digits: Sizes
    convnet: Sizes


def octaves(first: int, last: int) -> tuple[float, ...]:
    """Powers of two from ``2 ** first`` to ``2 ** last``."""
    return tuple(2.0**power for power in range(first, last + 1))


# The seeds decide; sizes, rates and thresholds were chosen on seeds 1 to 9. Sizes of `gpu` and `paper` are ours too.
_SEEDS = (901, 902, 903, 904, 905)
SCALES: Mapping[str, Scale] = {
    "smoke": Scale(
        (901, 902),
        regression=Sizes((8, 16), 12, 2),
        rates=Sizes((8,), 8, 4),
        grid=(1.0, 4.0, 16.0),
        depth=Sizes((2,), 8, 4),
        depth_width=8,
        digits=Sizes((8,), 8, 4, 0.1, 32),
        convnet=Sizes((2,), 8, 4, 0.1, 32),
    ),
    "cpu": Scale(
        _SEEDS,
        regression=Sizes((64, 128, 256, 512), 600, 50),
        rates=Sizes((32, 64, 128, 256), 100, 10),
        grid=octaves(-2, 6),
        depth=Sizes((2, 4, 8, 16), 600, 50),
        depth_width=64,
        digits=Sizes((32, 96, 256), 200, 20, 0.4),
        convnet=Sizes((6, 12, 24), 160, 40, 0.2, 32),
    ),
    "gpu": Scale(
        _SEEDS,
        regression=Sizes((64, 128, 256, 512, 1024, 2048), 1200, 50),
        rates=Sizes((32, 64, 128, 256, 512, 1024), 100, 10),
        grid=octaves(-3, 8),
        depth=Sizes((2, 4, 8, 16, 32), 1200, 50),
        depth_width=256,
        digits=Sizes((32, 64, 128, 256, 512, 1024), 200, 20, 0.4),
        convnet=Sizes((8, 16, 32, 64, 128), 160, 20, 0.2, 32),
    ),
    "paper": Scale(
        _SEEDS,
        regression=Sizes((64, 128, 256, 512, 1024, 2048, 4096, 8192), 6000, 50),
        rates=Sizes((32, 64, 128, 256, 512, 1024, 2048, 4096), 400, 10),
        grid=octaves(-3, 10),
        depth=Sizes((2, 4, 8, 16, 32, 64), 6000, 50),
        depth_width=1024,
        digits=Sizes((32, 64, 128, 256, 512, 1024, 2048, 4096), 200, 20, 0.4),
        convnet=Sizes((8, 16, 32, 64, 128, 256, 512), 160, 20, 0.2, 32),
    ),
}


def parts(scale: Scale) -> Mapping[str, Part]:
    """The regression over widths, rates and depths, and two models on the digits."""
    seeds = axis("seed", scale.seeds)
    swept = [_of_gamma(width, rate) for width in scale.rates.sizes for rate in scale.grid]
    at_rate = [_of_gamma(width, scale.regression.peak) for width in scale.regression.sizes]
    return {
        "regression": Part(
            _regression(scale.regression, scale.regression.every),
            [[one for both in at_rate for one in both], seeds],
            kept_steps=probes.looked_at(scale.regression.steps),
        ),
        "rates": Part(_regression(scale.rates, 0), [[one for both in swept for one in both], seeds]),
        "depth": _depth(scale),
        "digits": _digits(scale, scale.digits, "mlp", ("mean_field", "ntk")),
        "convnet": _digits(scale, scale.convnet, "convnet", ("mean_field", "sp", "ntk")),
    }


def _regression(sizes: Sizes, every: int) -> RunConfig:
    return RunConfig(
        task=choice("task", "tanh_regression"),
        schedule=choice("schedule", "Constant", peak=sizes.peak),
        optimizer=choice("optimizer", "sgd"),
        steps=sizes.steps,
        record_every=max(1, sizes.every // 5),
        sharpness=choice("sharpness", "hessian", every=every) if every else None,
    )


def _of_gamma(width: int, rate: float) -> list[Assignment]:
    """The two scales of the output at one width."""
    return [{"task.width": width, **_scaled_output(gamma, rate)} for gamma in (math.sqrt(width), 1.0)]


def _scaled_output(gamma: float, rate: float) -> Assignment:
    return {"task.gamma": gamma, "schedule.peak": rate * gamma**2}


def _depth(scale: Scale) -> Part:
    """Under muP, branches over the root of their number and branches as they are."""
    sizes = scale.depth
    wide = _scaled_output(math.sqrt(scale.depth_width), sizes.peak)
    task = choice("task", "tanh_regression", width=scale.depth_width, residual=True)
    runs = [
        {"task.layers": layers, "task.branch_scale": factor} for layers in sizes.sizes for factor in (layers**-0.5, 1.0)
    ]
    base = dataclasses.replace(_regression(sizes, sizes.every), task=task)
    return Part(base, [[{**wide, **one} for one in runs], axis("seed", scale.seeds)])


def _digits(scale: Scale, sizes: Sizes, model: str, names: Sequence[str]) -> Part:
    """The digits under each parametrization, muP in its form without rates of single tensors.

    The readout starts as other tensors do, so that NTK's kernel is the usual one.
    """
    parametrizations = [
        choice("parametrization", name, base_width=sizes.sizes[0], zero_readout=False) for name in names
    ]
    base = RunConfig(
        task=choice("task", "digits", batch_size=sizes.batch, standardised=True),
        model=choice("model", model, width=sizes.sizes[0]),
        schedule=choice("schedule", "Constant", peak=sizes.peak),
        optimizer=choice("optimizer", "sgd"),
        steps=sizes.steps,
        record_every=sizes.every // 4,
        sharpness=choice("sharpness", "hessian", every=sizes.every, batches=max(1, EXAMPLES // sizes.batch)),
    )
    return Part(
        base,
        [axis("parametrization", parametrizations), axis("model.width", sizes.sizes), axis("seed", scale.seeds)],
    )


_DASHED = "dashed: 2, at which descent becomes unstable"

EXPERIMENT = Experiment(
    name="sharpness_transfer",
    title="Sharpness that is the same at every width",
    paper="Noci, Meterez, Hofmann & Orvieto 2024, Why do Learning Rates Transfer? Reconciling Optimization and Scaling "
    "Limits for Deep Learning, arXiv 2402.17457",
    asks="does the sharpness along training depend on width, depth or parametrization?",
    question="Under the maximal-update parametrization (muP) a learning rate serves all widths. Is that because the "
    "sharpness, the largest eigenvalue of the loss's Hessian, takes the same course at every width, up to the 2 / rate "
    "at which gradient descent becomes unstable, where under NTK's parametrization it grows less the wider the "
    "network? Do the loss and the tangent kernel spread more over the widths than the sharpness does? And do depths, "
    "with residual branches over the root of their number, and a perceptron and a convnet on digits behave likewise?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    probes=(Probe("kernel", "regression", probes.kernel),),
    figures=(
        Figure("regression", f"Regression: rate times sharpness against the update, for every width; {_DASHED}.",
               ("regression",), views.regression),
        Figure("spread", "Regression: coefficient of variation over the widths of the sharpness, of the tangent "
               "kernel's largest eigenvalue and of the training loss.", ("regression",), views.spread),
        Figure("rates", "Regression: training loss after the sweep's last recorded update against the rate over gamma "
               "squared, and the best rate against the width (none where it is on the grid's edge).", ("rates",),
               views.rates),
        Figure("depth", f"Regression by a residual stack under muP: rate times sharpness against the update, for every "
               f"depth, with branches over the root of the depth and as they are; {_DASHED}.", ("depth",),
               views.depth),
        Figure("digits", f"Digits, perceptron: rate times sharpness against the update; {_DASHED}.", ("digits",),
               views.digits),
        Figure("convnet", f"Digits, convnet: rate times sharpness against the update; {_DASHED}.", ("convnet",),
               views.convnet),
    ),
    tables=(
        Table("ends", "Rate times sharpness after training, by size, mean over seeds, and its coefficient of variation "
              "over the sizes at the end and from a third of the training on", (), views.ends_table),
        Table("spreads", "Regression: coefficients of variation over the widths along training, mean over seeds",
              ("regression",), views.spreads_table),
        Table("optima", "Best rate over gamma squared by width, and whether it is on the grid's edge", ("rates",),
              views.optima_table),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(EXPERIMENT)
