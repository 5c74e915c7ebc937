"""The instabilities of large transformers at high rates in small ones, what removes them, and what foretells them.

python -m experiments.instability_proxies --preset=cpu --workdir=runs/instability_proxies
"""

import dataclasses
from collections.abc import Mapping, Sequence

from experiments import instability_proxies_claims as claims
from experiments import instability_proxies_tables as tables
from experiments import instability_proxies_views as views
from experiments.published import C4, published
from lrstudy.study.choices import Choice, choice
from lrstudy.study.config import RunConfig
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Assignment, Part, axis


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        seeds: of the arms and of the epsilons.
        size_seeds: of the models of several sizes, which are more because an extrapolation multiplies noise.
        rates: the peaks of the sweeps, even in log rate: the range over which a sensitivity is the average.
        size_rates: the peaks at which sizes are compared, each one of ``rates``.
        widths: of the models of several sizes, increasing, the last one predicted from the others.
        epsilons: of Adam.
        epsilon_widths: of the models in which they are compared.
        epsilon_rate: the peak of these.
        steps: updates of a run; a multiple of 10.
        width: of the models that are swept over all rates.
        layers: of all models.
        head_width: of all models.
        context: bytes of a window.
        batch_size: windows a step.
        validation_windows: that a loss is evaluated on.
        dataset: that is trained on; empty: the text that comes with Python.
    """

    seeds: tuple[int, ...]
    size_seeds: tuple[int, ...]
    rates: tuple[float, ...]
    size_rates: tuple[float, ...]
    widths: tuple[int, ...]
    epsilons: tuple[float, ...]
    epsilon_widths: tuple[int, ...]
    epsilon_rate: float
    steps: int
    width: int = 32
    layers: int = 2
    head_width: int = 8
    context: int = 64
    batch_size: int = 8
    validation_windows: int = 32
    dataset: str = ""


def _half_decades(first: int, last: int) -> tuple[float, ...]:
    """Ten to the power of half of every whole number from ``first`` to ``last``, to three digits."""
    return tuple(float(f"{10 ** (half / 2):.3g}") for half in range(first, last + 1))


_SEEDS = tuple(range(501, 507))
_EPSILONS = (1e-15, 1e-8, 1e-5, 1e-4, 1e-3, 1e-2)
# Seeds 1 to 9 were looked at while the rates, sizes and thresholds were chosen; no seed of these was.
SCALES: Mapping[str, Scale] = {
    "smoke": Scale(
        _SEEDS[:2], _SEEDS[:2], (0.01, 1.0), (1.0,), (8, 16, 24, 32), (1e-15, 1e-3, 1e-2), (16,), 0.01, 10, 16, 1, 8, 8,
        2, 2,
    ),
    "cpu": Scale(
        _SEEDS[:3], _SEEDS, _half_decades(-5, 0), _half_decades(-3, -2), (16, 24, 32, 48, 64), _EPSILONS, (16, 48),
        0.01, 300,
    ),
    "gpu": Scale(
        _SEEDS[:3], _SEEDS, _half_decades(-6, -1), _half_decades(-4, -3), (64, 96, 128, 192, 256), _EPSILONS, (64, 256),
        0.003_16, 1_000, 128, 4, 32, 256, 32, 128,
    ),
    "paper": Scale(
        _SEEDS[:3], _SEEDS, _half_decades(-7, -1), _half_decades(-4, -3), (256, 384, 512, 768, 1_024, 1_536), _EPSILONS,
        (256, 1_024), 0.003_16, 100_000, 512, 12, 64, 512, 256, 512, C4,
    ),
}  # fmt: skip


def parts(scale: Scale) -> Mapping[str, Part]:
    """All arms over all peaks, then models of several sizes without query and key norms, then epsilons."""
    base, seeds = _base(scale), axis("seed", scale.seeds)
    unnormed = dataclasses.replace(base, model=_model(scale).with_argument("qk_norm", False))
    at_rate = dataclasses.replace(base, schedule=base.schedule.with_argument("peak", scale.epsilon_rate))
    sizes, widths = ([_width(scale, width) for width in own] for own in (scale.widths, scale.epsilon_widths))
    return {
        "arms": Part(base, [_arms(scale), axis("schedule.peak", scale.rates), seeds]),
        "sizes": Part(unnormed, [sizes, axis("schedule.peak", scale.size_rates), axis("seed", scale.size_seeds)]),
        "epsilon": Part(at_rate, [widths, axis("optimizer.eps", scale.epsilons), seeds]),
    }


def _arms(scale: Scale) -> Sequence[Assignment]:
    """What the runs of every arm have: ``claims.ARMS`` as paths; an independent decay needs a parametrization."""
    sp = {"base_width": scale.width, "zero_readout": False, "zero_query": False}
    independent = {"parametrization": choice("parametrization", "sp", decay="independent", **sp)}
    return [
        {**claims.columns(name, scale.steps), **(independent if name == "independent" else {})} for name in claims.ARMS
    ]


def _base(scale: Scale) -> RunConfig:
    """What all have but what an arm changes."""
    warmup = claims.warmup_steps(claims.DEFAULT["warmup"], scale.steps)
    text = choice(
        "task", "text", context=scale.context, batch_size=scale.batch_size,
        validation_windows=scale.validation_windows, z_loss=claims.Z_LOSS, diagnostics=True,
    )  # fmt: skip
    return RunConfig(
        task=published(text, scale.dataset),
        model=_model(scale),
        # Up to the peak, and down to zero along half a cosine.
        schedule=choice("schedule", "Cosine", peak=scale.rates[0], warmup_steps=warmup),
        optimizer=choice("optimizer", "adamw", b1=0.9, b2=0.95, eps=1e-8, weight_decay=0.0),
        clip_norm=1.0,
        steps=scale.steps,
        record_every=scale.steps // 10,
        evaluate_every=scale.steps // 10,
    )


def _model(scale: Scale) -> Choice:
    sizes = {"width": scale.width, "layers": scale.layers, "heads": scale.width // scale.head_width}
    return choice("model", "transformer", **sizes, rotary=True, qk_norm=True)


def _width(scale: Scale, width: int) -> Assignment:
    """A model of heads as wide as the others', as many as fit."""
    return {"model.width": width, "model.heads": width // scale.head_width}


EXPERIMENT = Experiment(
    name="instability_proxies",
    title="Instabilities of large transformers, seen and foretold in small ones",
    paper="Wortsman et al. 2023, Small-scale proxies for large-scale Transformer training instabilities, arXiv "
    "2309.14322; Kim et al. 2025, Peri-LN: Revisiting Normalization Layer in the Transformer Architecture, arXiv "
    "2502.02732",
    asks="what makes high rates fail in small transformers, and what mends it?",
    question="Large transformers become unstable at rates that small ones bear. At high rates a small one shows the "
    "same: its attention logits grow and its output logits drift. Do norms of queries and keys, and a z-loss, each "
    "remove theirs? How much does the final loss depend on the rate (S: its mean above the least, over the rates of "
    "the sweep), and do a longer warmup, an independent weight decay and Peri-LN make it depend less? Do the "
    "attention logits of small models foretell those of the next size, and when does Adam's epsilon, too large for "
    "shrinking gradients, stop the updates?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    figures=(
        Figure(
            "attention",
            "Largest attention logit on the validation windows after training, over blocks, heads and visible "
            "positions, against the peak rate.",
            ("arms",),
            views.attention,
        ),
        Figure(
            "log_z",
            "Mean log Z of the output logits (nats) on the validation windows during training, at the high peaks, "
            "with and without a z-loss.",
            ("arms",),
            views.log_z,
        ),
        Figure(
            "sensitivity",
            "Final validation loss against the peak rate; S in the legends is the mean over all peaks shown of the "
            "loss above the least of them, nats per byte.",
            ("arms",),
            views.sensitivity,
        ),
        Figure(
            "extrapolation",
            "Largest attention logit against the number of parameters, without query and key norms: a parabola in "
            "log-log through all sizes but the largest, and what it predicts for that; the title has the error.",
            ("sizes",),
            views.extrapolation,
        ),
        Figure(
            "gradients",
            "Root mean square of the gradient over the second half of training against the number of parameters (no "
            "qk-norm) and against the peak rate, beside an epsilon of 1e-3.",
            ("sizes", "arms"),
            views.gradients,
        ),
        Figure(
            "epsilon",
            "Root mean square of Adam's update as a multiple of the rate, and final validation loss, against epsilon.",
            ("epsilon",),
            views.epsilon,
        ),
    ),
    tables=(
        Table(
            "arms",
            "Every arm over all peaks: sensitivity S and losses (nats per byte), means over seeds",
            ("arms",),
            tables.arms_table,
        ),
        Table(
            "sizes",
            "Largest attention logit by size, and as the parabola through all sizes but the largest has it",
            ("sizes",),
            tables.sizes_table,
        ),
        Table("epsilon", "Gradients, updates and losses by Adam's epsilon", ("epsilon",), tables.epsilon_table),
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
