"""The largest eigenvalue of the Hessian of batches, and the largest rate that trains, against the batch size.

python -m experiments.batch_hessian --preset=cpu --workdir=runs/batch_hessian
"""

import dataclasses
from collections.abc import Mapping, Sequence

from experiments import batch_hessian_claims as claims
from experiments import batch_hessian_measures as measures
from experiments import batch_hessian_probes as probes
from experiments import batch_hessian_views as views
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Assignment, Part, axis
from lrstudy.study.probes import Probe

WIDTH = 32
LEAST_UPDATES = 64
"""Of a run; small batches make more, so that all see about as many examples."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        seeds: of weights and batches.
        trained: updates before the eigenvalues are measured.
        examples: that a run sees, but for its least updates.
        rates: of a run's window, a quarter of an octave apart.
        batches: whose largest rate is sought.
        control: batches of the linear regression.
    """

    seeds: tuple[int, ...]
    trained: int = 60
    examples: int = 1024
    rates: int = 13
    batches: tuple[int, ...] = measures.BATCHES
    control: tuple[int, ...] = measures.CONTROL


# The seeds decide; sizes, rates and thresholds were chosen on seeds 1 to 6.
SCALES: Mapping[str, Scale] = {
    "smoke": Scale((801, 802), 10, 64, 3, (4, 1437), (4, 64)),
    "cpu": Scale(tuple(range(801, 807))),
    "gpu": Scale(tuple(range(801, 833)), examples=8192, rates=19),
    "paper": Scale(tuple(range(801, 833)), examples=65_536, rates=19),
}


def parts(scale: Scale) -> Mapping[str, Part]:
    """Trained networks for the eigenvalues; SGD, Adam and a regression with a known answer for the rates."""
    seeds = axis("seed", scale.seeds)
    trained = RunConfig(
        task=choice("task", "digits", batch_size=64, standardised=True),
        model=choice("model", "mlp", width=WIDTH),
        schedule=choice("schedule", "Constant", peak=0.1),
        optimizer=choice("optimizer", "sgd"),
        steps=scale.trained,
    )
    control = dataclasses.replace(
        trained,
        task=choice(
            "task",
            "noisy_regression",
            eigenvalues=(1.0,) * measures.DIRECTIONS,
            worst_noise=measures.NO_NOISE,
            best_noise=measures.NO_NOISE,
            samples=measures.SAMPLES,
            chains=2,
        ),
        model=None,
    )
    # All labels are right; this task draws a batch several times faster, which is most of an update on few examples.
    sgd = dataclasses.replace(trained, task=choice("task", "noisy_digits", corruption=0.0, standardised=True))
    adam = dataclasses.replace(sgd, optimizer=choice("optimizer", "adam"))
    return {
        "trained": Part(trained, [seeds]),
        "sgd": Part(sgd, [_swept(scale, measures.SGD, scale.batches), seeds]),
        "adam": Part(adam, [_swept(scale, measures.ADAM, scale.batches), seeds]),
        "control": Part(control, [_swept(scale, measures.REGRESSION, scale.control), seeds]),
    }


def _swept(scale: Scale, sweep: measures.Sweep, batches: Sequence[int]) -> list[Assignment]:
    """The window of rates of every batch size."""
    return [
        {
            "task.batch_size": batch,
            "schedule.peak": rate,
            "steps": updates,
            "record_every": updates,
        }
        for batch in batches
        for updates in [max(LEAST_UPDATES, scale.examples // batch)]
        for rate in sweep.window(batch, scale.rates)
    ]


_BAND = "Line: mean over seeds; band: range"

EXPERIMENT = Experiment(
    name="batch_hessian",
    title="Curvature and the largest rate against the batch size",
    paper="Granziol, Zohren & Roberts 2022, Learning Rates as a Function of Batch Size: A Random Matrix Theory "
    "Approach to Neural Network Training, JMLR 23(173), arXiv 2006.09092",
    asks="how much sharper is a batch's loss than that of all data, and how does the largest rate grow with the batch?",
    question="The Hessian of a batch is that of all data and noise, which raises its largest eigenvalue. Does the rise "
    "fall as one over the batch, B of N examples counting as b' = B / (1 - B / N), and vanish at the full batch, for "
    "the Gauss-Newton matrix as for the Hessian? And does the largest rate that trains grow with the batch for SGD, "
    "with its square root for Adam, before it saturates?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    probes=(Probe("eigenvalues", "trained", probes.eigenvalues(measures.SIZES)),),
    figures=(
        Figure(
            "eigenvalues",
            "Digits, trained perceptron. Left: largest eigenvalue against the batch size (examples), dotted: that of "
            "all data. Right: its excess over the batch's curvature along the leading direction of all data, against "
            f"b' (examples), with the line fitted in the range where the slope is claimed. {_BAND}.",
            ("trained",),
            views.eigenvalues,
        ),
        Figure(
            "rates",
            "Largest rate that trains (held-out loss at most half that of a guess; regression: no higher than at the "
            "start) against the batch size (examples). Dotted: slopes 1 and 1/2. Dashed: digits, 2 over the largest "
            f"eigenvalue of batches, which is another network's, trained; regression, the exact rate. {_BAND}.",
            ("sgd", "adam", "control"),
            views.rates,
        ),
    ),
    tables=(
        Table(
            "eigenvalues",
            "Largest eigenvalue by batch size: over that of all data, excess times b', slope against b' since the size "
            "before, mean over seeds",
            ("trained",),
            views.eigenvalues_table,
        ),
        Table(
            "rates",
            "Largest rate that trains by batch size, and octaves a doubling since the size before, mean over seeds",
            ("sgd", "adam", "control"),
            views.rates_table,
        ),
    ),
)

if __name__ == "__main__":
    main(EXPERIMENT)
