"""Does the tuned learning rate of a narrow model serve a wide one? Standard, NTK and maximal-update parametrizations.

python -m experiments.mup_transfer --preset=cpu --workdir=runs/mup_transfer
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import mup_transfer_claims as claims
from experiments import mup_transfer_views as views
from experiments.mup_transfer_coordinates import PROBES
from experiments.published import CIFAR10, WIKIPEDIA, published
from lrstudy.study.choices import Choice, choice
from lrstudy.study.config import RunConfig
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Assignment, Part, axis


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The runs of one part.

    Attributes:
        sizes: widths, or numbers of layers; the first is the base.
        rates: of the sweep.
        steps: updates of a run.
        batch: examples or windows a step.
    """

    sizes: tuple[int, ...]
    rates: tuple[float, ...]
    steps: int
    batch: int = 64


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        seeds: of the runs on digits.
        text_seeds: of the runs on text.
        mlp: widths of the perceptron.
        text: widths of the transformer.
        decay: widths of the perceptron whose weight decay is swept (as ``rates``); longer, so that decay matters.
        decay_peaks: its peak rates.
        depth: layers of the residual model.
        lion: widths of the perceptron under Lion.
        muon: and under Muon.
        alphas: exponents of the depth rules.
        depth_width: of the residual model.
        layers: of the transformer.
        context: bytes of a window.
        images: that the perceptron learns; empty: the digits.
        language: that the transformer learns; empty: the text that comes with Python.
    """

    seeds: tuple[int, ...]
    text_seeds: tuple[int, ...]
    mlp: Sizes
    text: Sizes
    decay: Sizes
    decay_peaks: tuple[float, ...]
    depth: Sizes
    lion: Sizes
    muon: Sizes
    alphas: tuple[float, ...] = (0.0, 0.5, 1.0)
    depth_width: int = 32
    layers: int = 1
    context: int = 32
    images: str = ""
    language: str = ""


def octaves(first: float, last: float, each: float = 1.0) -> tuple[float, ...]:
    """Powers of two from ``2**first`` to ``2**last``, ``each`` octaves apart."""
    count = round((last - first) / each)
    return tuple(2.0 ** (first + i * each) for i in range(count + 1))


WIDTHS = (64, 128, 256, 512)
_MLP = Sizes(WIDTHS, octaves(-11, -2, 0.5), 40)

# Seeds 0 to 2 were looked at while the study was made, and on digits 401 to 403 (see the claims); none of these was.
SCALES: Mapping[str, Scale] = {
    "smoke": Scale(
        (501, 502),
        (401, 402),
        mlp=Sizes((16, 32), octaves(-8, 0, 2), 12),
        text=Sizes((8, 16), octaves(-9, -1, 2), 8, 4),
        decay=Sizes((16,), octaves(-4, 4, 4), 8),
        decay_peaks=(2.0**-6, 2.0**-8),
        depth=Sizes((1, 2), octaves(-9, -1, 4), 4, 4),
        lion=Sizes((16,), octaves(-12, -2, 5), 8),
        muon=Sizes((16,), octaves(-8, 2, 5), 8),
        alphas=(1.0,),
        depth_width=8,
        layers=0,
        context=8,
    ),
    "cpu": Scale(
        (501, 502, 503),
        (401, 402, 403),
        mlp=_MLP,
        text=Sizes((64, 128, 256), octaves(-11, -3), 100, 8),
        decay=Sizes((64, 128, 256), octaves(-2, 4), 200),
        decay_peaks=(2.0**-6, 2.0**-8),
        depth=Sizes((2, 4, 8, 16), octaves(-8, -3), 100, 8),
        lion=Sizes(WIDTHS, octaves(-11, -2), 40),
        muon=Sizes((64, 128, 256), octaves(-8, 1), 40),
    ),
    "gpu": Scale(
        (501, 502, 503),
        (401, 402, 403),
        mlp=Sizes((64, 128, 256, 512, 1024, 2048), octaves(-13, -2, 0.5), 40),
        text=Sizes((128, 256, 512, 1024, 2048), octaves(-13, -3), 300, 16),
        decay=Sizes((64, 128, 256, 512, 1024), octaves(-6, 4), 400),
        decay_peaks=(2.0**-6, 2.0**-8),
        depth=Sizes((2, 4, 8, 16, 32), octaves(-11, -3), 300, 16),
        lion=Sizes((64, 128, 256, 512, 1024), octaves(-13, -2), 40),
        muon=Sizes((64, 128, 256, 512, 1024), octaves(-8, 1), 40),
        depth_width=128,
        context=128,
    ),
    "paper": Scale(
        (501, 502, 503, 504, 505),
        (401, 402, 403, 404, 405),
        mlp=Sizes((256, 512, 1024, 2048, 4096, 8192), octaves(-16, -2, 0.5), 1_000),
        text=Sizes((128, 256, 512, 1024, 2048, 4096, 8192), octaves(-16, -3, 0.5), 5_000, 64),
        decay=Sizes((256, 512, 1024, 2048, 4096), octaves(-8, 4, 0.5), 1_000),
        decay_peaks=(2.0**-6, 2.0**-8),
        depth=Sizes((2, 4, 8, 16, 32, 64), octaves(-14, -3, 0.5), 5_000, 64),
        lion=Sizes((256, 512, 1024, 2048, 4096), octaves(-16, -2, 0.5), 1_000),
        muon=Sizes((256, 512, 1024, 2048, 4096), octaves(-9, 1, 0.5), 1_000),
        depth_width=256,
        layers=2,
        context=256,
        images=CIFAR10,
        language=WIKIPEDIA,
    ),
}


def parts(scale: Scale) -> Mapping[str, Part]:
    """Every part sweeps a rate over sizes, once with the parametrization that should transfer it and once without."""
    return {
        "mlp": _mlp(scale, scale.mlp, _adam(), ("mup", "sp")),
        "ntk": _mlp(scale, scale.mlp, _adam(), ("ntk",)),
        "decay": _decay(scale),
        "lion": _mlp(scale, scale.lion, choice("optimizer", "lion"), ("mup", "sp")),
        "muon": _mlp(scale, scale.muon, choice("optimizer", "muon"), ("mup", "sp")),
        "transformer": _transformer(scale),
        "depth": _depth(scale),
    }


def _adam() -> Choice:
    return choice("optimizer", "adam", b2=0.99)


def _schedule(sizes: Sizes, peak: float) -> Choice:
    """A quarter of warmup, then a straight line to zero."""
    return choice("schedule", "Linear", peak=peak, warmup_steps=sizes.steps // 4)


def _digits(scale: Scale, sizes: Sizes, optimizer: Choice, peak: float, record_every: int = 1) -> RunConfig:
    return RunConfig(
        task=published(choice("task", "digits", batch_size=sizes.batch, standardised=True), scale.images),
        model=choice("model", "mlp", width=sizes.sizes[0], layers=2),
        schedule=_schedule(sizes, peak),
        optimizer=optimizer,
        steps=sizes.steps,
        record_every=record_every,
    )


def _text(scale: Scale, sizes: Sizes, **model: Any) -> RunConfig:
    return RunConfig(
        task=published(choice("task", "text", context=scale.context, batch_size=sizes.batch), scale.language),
        model=choice("model", "transformer", **model),
        schedule=_schedule(sizes, sizes.rates[0]),
        optimizer=choice("optimizer", "adam", b2=0.95),
        steps=sizes.steps,
        record_every=10,
    )


def _parametrizations(names: Sequence[str], base: int) -> list[Assignment]:
    return [{"parametrization": choice("parametrization", name, base_width=base)} for name in names]


def _mlp(scale: Scale, sizes: Sizes, optimizer: Choice, names: Sequence[str]) -> Part:
    return Part(
        _digits(scale, sizes, optimizer, sizes.rates[0]),
        [
            _parametrizations(names, sizes.sizes[0]),
            axis("model.width", sizes.sizes),
            axis("schedule.peak", sizes.rates),
            axis("seed", scale.seeds),
        ],
    )


def _transformer(scale: Scale) -> Part:
    """Four heads whose width grows with the model's, so that the attention's scale is put to the test too."""
    sizes = scale.text
    return Part(
        _text(scale, sizes, width=sizes.sizes[0], layers=scale.layers, heads=4),
        [
            _parametrizations(("mup", "sp"), sizes.sizes[0]),
            axis("model.width", sizes.sizes),
            axis("schedule.peak", sizes.rates),
            axis("seed", scale.text_seeds),
        ],
    )


def _decay(scale: Scale) -> Part:
    """Decay as it should be at every peak rate, and at the highest also as a factor behind it would make it."""
    sizes, base = scale.decay, scale.decay.sizes[0]
    kept, falling = (choice("parametrization", "mup", base_width=base, decay_exponent=power) for power in (0.0, -1.0))
    runs: list[Assignment] = [{"parametrization": kept, "schedule.peak": peak} for peak in scale.decay_peaks]
    runs.append({"parametrization": falling, "schedule.peak": scale.decay_peaks[0]})
    return Part(
        _digits(scale, sizes, choice("optimizer", "adamw", b2=0.99), scale.decay_peaks[0], record_every=20),
        [
            runs,
            axis("model.width", sizes.sizes),
            axis("optimizer.weight_decay", sizes.rates),
            axis("seed", scale.seeds),
        ],
    )


def _depth(scale: Scale) -> Part:
    """All rules are one at the base depth, which is trained once, without any."""
    sizes, base = scale.depth, scale.depth.sizes[0]
    plain = choice("parametrization", "mup", base_width=scale.depth_width)
    ruled = [
        choice("parametrization", "mup", base_width=scale.depth_width, base_layers=base, alpha=alpha)
        for alpha in scale.alphas
    ]
    runs: list[Assignment] = [{"parametrization": plain, "model.layers": base}]
    runs += [{"parametrization": own, "model.layers": deep} for own in (plain, *ruled) for deep in sizes.sizes[1:]]
    model = {"width": scale.depth_width, "heads": 4, "layers": base, "scan_layers": sizes.sizes[-1] > 4}
    return Part(
        _text(scale, sizes, **model),
        [runs, axis("schedule.peak", sizes.rates), axis("seed", scale.text_seeds)],
    )


_OPTIMA = "triangles and dotted lines: optima, none where the lowest loss is on the grid's edge"
_RANGE = "the shaded range is that over which the sensitivity S is averaged"

EXPERIMENT = Experiment(
    name="mup_transfer",
    title="Learning rates that transfer over width and depth",
    paper="Yang et al. 2022, Tensor Programs V: Tuning Large Neural Networks via Zero-Shot Hyperparameter Transfer, "
    "arXiv 2203.03466",
    asks="does the best rate of a narrow or shallow model serve a wide or deep one?",
    question="A learning rate is tuned on a narrow model and used on a wide one. Under the maximal-update "
    "parametrization (muP) the optimum is said to stay where it is, under the standard one (SP) to fall with the "
    "width, under NTK's with one rate for all tensors to fall half as fast. Is that so for a perceptron and a "
    "transformer, does it hold for weight decay, for Lion and Muon, and, with a rule for residual branches, for depth? "
    "That a wider model is better at the rate of a narrow one is looked at in the tables, and not claimed.",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    probes=PROBES,
    figures=(
        Figure("mlp", "Digits, perceptron: training loss over the last five updates against the peak rate (geometric "
               f"mean over seeds) and, last, the optima against the width; {_OPTIMA}; dashed: the loss whose crossing "
               f"is measured; {_RANGE}.", ("mlp", "ntk"), views.mlp),
        Figure("coordinates", "Coordinate check: how the mean magnitude of activations, and that of their change since "
               "initialisation, grow with the width, as exponents; shaded: what passes.", ("mlp", "ntk"),
               views.coordinates),
        Figure("transformer", f"Text, transformer: validation loss against the peak rate; {_OPTIMA}; {_RANGE}.",
               ("transformer",), views.transformer),
        Figure("decay", "Digits, AdamW under muP: validation loss against weight decay, kept over the widths at "
               "two peak rates, and falling with the fan-in; dashed: the loss whose crossing (dotted) is followed, for "
               "decay only costs at this length.", ("decay",), views.decay),
        Figure("depth", "Text, residual stack under muP: validation loss against the peak rate, without a rule for "
               f"depth and with branches scaled by depth to the power -alpha; {_OPTIMA}.", ("depth",), views.depth),
        Figure("lion", f"Digits, perceptron under Lion: training loss against the peak rate; {_OPTIMA}.", ("lion",),
               views.lion),
        Figure("muon", f"Digits, perceptron under Muon: training loss against the peak rate; {_OPTIMA}.", ("muon",),
               views.muon),
    ),
    tables=(
        Table("slopes", "How far the best rate (or decay) of every arm moves over the sizes; empty where one is on the "
              "grid's edge", (), views.slopes_table),
        Table("optima", "Best rate (or decay) of every size, geometric mean over seeds; S: mean excess over the lowest "
              "loss in the range of rates that the figures shade, capped at the initial loss (nats)", (),
              views.optima_table),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(EXPERIMENT)
