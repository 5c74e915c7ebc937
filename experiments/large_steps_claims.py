"""What the papers on huge steps say, as numbers.

Two samples, without noise, decide a, b and d; there is nothing to average over. In e the constants of the sample are
ours: patches of 50 directions, 40 examples, a weak feature of size 0.3 in all of them, a strong one of size 1 in seven
of ten, noise of standard deviation 0.15 a coordinate, 10 filters of either sign from normal weights of size 0.03, one
example an update, 4,000 updates. They, the two rates and the thresholds were chosen on seeds 1 to 9, on which accuracy
was 0.49 to 0.54 at the small rate and 0.86 to 1.00 at the large one, and a rate of 6 diverged in four cases.
"""

from experiments import large_steps_measures as measures
from experiments.large_steps_measures import LARGE, SMALL, Measure
from lrstudy.study.claims import Claim

_TABLE = "Tyurin 2024, table 1"
_ITERATES = "Tyurin 2024, theorem 4.1"
_BOUND = "Tyurin 2024, theorems on n R^2 / mu^2 and on normalised LR+GD"
_GROWTH = "Tyurin 2024, theorem 5.1"
_BENIGN = "Lu et al. 2023, abstract"


def _published(claim_id: str, normalised: bool, step: float) -> Claim:
    method = "normalised gradient descent" if normalised else "gradient descent"
    count = measures.PUBLISHED[normalised, step]
    statement = f"1,000 examples: updates of {method}, gamma {step:g}, distance from {count}"
    return Claim(claim_id, statement, _TABLE, ("published",), measures.from_published(normalised, step), "<=", 0)


def _opposed(claim_id: str, statement: str, measure: Measure, comparison: str, threshold: float) -> Claim:
    return Claim(claim_id, f"Two examples: {statement}", _ITERATES, ("opposed",), measure, comparison, threshold)


def _benign(claim_id: str, statement: str, measure: Measure, comparison: str, threshold: float) -> Claim:
    return Claim(claim_id, f"Features and noise: {statement}", _BENIGN, ("benign",), measure, comparison, threshold)


CLAIMS = (
    *(_published(f"a{i}", *cell) for i, cell in enumerate(measures.PUBLISHED, start=1)),
    Claim(
        "a6",
        "Any number of examples: updates of a run less those of the solver that is given all rows, largest",
        "this study",
        ("table",),
        measures.from_solvers,
        "<=",
        0,
    ),
    _opposed(
        "b1", "theta / gamma after one update, gamma 10, error", measures.iterate_error(1, 10, (0.5, 0.75)), "<=", 1e-6
    ),
    _opposed(
        "b2",
        "theta / gamma after two updates, gamma 10, error",
        measures.iterate_error(2, 10, (0.962070910, 0.287929090)),
        "<=",
        1e-6,
    ),
    # The loss is a softplus of 2.5 and 25 in float32, each rounded to 6e-8 of itself, and a mean.
    _opposed("b3", "loss after one update, gamma 10, relative error", measures.loss_error(10, 1.289444867), "<=", 1e-6),
    _opposed("b4", "loss after one update, gamma 100, relative error", measures.loss_error(100, 12.5), "<=", 1e-6),
    _opposed("b5", "gamma 1000: farthest of theta / gamma from the perceptron", measures.huge_distance, "<=", 1e-3),
    _opposed(
        "b6",
        "that distance, gammas 1 to 30, each over the one before, largest",
        measures.largest_distance_ratio,
        "<",
        1,
    ),
    Claim(
        "c1",
        "Random samples: updates of normalised gradient descent over its bound, largest over gammas and samples",
        _BOUND,
        ("random",),
        measures.largest_share(normalised=True),
        "<=",
        1,
    ),
    Claim(
        "c2",
        "Random samples: updates of gradient descent, gamma 10000, over the perceptron's bound, largest",
        _BOUND,
        ("random",),
        measures.largest_share(normalised=False),
        "<=",
        1,
    ),
    Claim(
        "d1",
        "10 to 10,000 examples: updates of gradient descent, gamma 100, as a power of the examples, from 1",
        _GROWTH,
        ("growth",),
        measures.growth_slope,
        "<=",
        0.1,
    ),
    Claim(
        "d2",
        "10 to 10,000 examples: updates of normalised gradient descent, gamma 100, largest less smallest",
        _GROWTH,
        ("growth",),
        measures.growth_range,
        "<=",
        0,
    ),
    _benign("e1", f"rate {LARGE:g}: accuracy where only the weak feature tells", measures.accuracy(LARGE), ">=", 0.85),
    _benign("e2", f"rate {SMALL:g}: accuracy where only the weak feature tells", measures.accuracy(SMALL), "<=", 0.6),
    _benign("e3", "the one less the other", measures.accuracy_gain, ">=", 0.3),
    _benign(
        "e4",
        "training examples on the wrong side at the end, either rate, largest share",
        measures.sample_error,
        "<=",
        0,
    ),
    _benign(
        "e5",
        "change of the sample's loss in ten updates once it was below a tenth, root mean square, large rate over small",
        measures.unrest_ratio,
        ">=",
        5,
    ),
)
