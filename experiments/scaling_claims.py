"""What the papers on scaling with parameters and data say, as numbers.

Sizes are small: transformers of one block and 8 to 32 units, up to half a million bytes. Rates, weight decays, numbers
of passes, which cells are held out, and thresholds were chosen on seeds 1 to 9; 1.9 of b3 and b4 is the paper's least
speedup of one epoch over ten. On those seeds the law missed held-out cells by 2.3% in the mean and did not have its E,
A and B identified; 10 passes cost so little (0.04 nats) that one pass needed 1.2 times fewer updates alone; and a tenth
of the windows from a slice was worst at the one end, a single window. b3, b6 and a5 stand as the papers have it. The
random features' errors are compared with those of an independent computation of the same set-up on other samples.

What failed on the deciding seeds. a5: 16 cells over factors of 7 in parameters and 8 in bytes say that both exponents
are above 0, not what they or the floor E are; left-out cells move alpha from 0.63 to 0.32. b3: as before, a model of
30,000 parameters learns 39 kB ten times over nearly as well as 390 kB once. b4: 32 passes end above the shortest run of
one pass, of a twelfth of the updates, so the ratio is above 12 and was not measured. c5: the best decay is 1 at all
widths. c8: ensembles of width 8 come down to 2.521 nats, one model of width 32 to 2.458: averaging does not make up for
a fourth of the width.
"""

from experiments import scaling_features as features
from experiments import scaling_fixed as fixed
from experiments import scaling_repeats as repeats
from experiments import scaling_sizes as sizes
from experiments.scaling_features import EXPONENTS, FEW, FEW_FEATURES, FEW_SAMPLES, MANY, MIN_NORM, RESOLUTION, RIDGE
from lrstudy.study.claims import Claim

_LAW = "Hoffmann et al. 2022, arXiv 2203.15556, section 3.3"
_EPOCH = "Komatsuzaki 2019, arXiv 1906.06669, abstract"
_SLICE = "Hernandez et al. 2022, arXiv 2205.10487, abstract"
_COMPUTE = "Kim et al. 2025, arXiv 2509.14786"
_DESCENT = "Nakkiran et al. 2021, arXiv 2003.01897; Belkin et al. 2019, arXiv 1812.11118"
_REGIMES = "Bahri et al. 2021, arXiv 2102.06701, abstract"
_OWN = "this study"


def _sizes(claim_id: str, statement: str, measure: sizes.Measure, comparison: str, threshold: float) -> Claim:
    return Claim(claim_id, f"Sizes: {statement}", _LAW, ("sizes",), measure, comparison, threshold)


def _repeats(claim_id: str, source: str, statement: str, measure: repeats.Measure, bound: tuple[str, float]) -> Claim:
    return Claim(claim_id, f"Repetition: {statement}", source, ("repeats",), measure, *bound)


def _fixed(claim_id: str, statement: str, measure: fixed.Measure, comparison: str, threshold: float) -> Claim:
    return Claim(claim_id, f"Fixed data: {statement}", _COMPUTE, ("fixed",), measure, comparison, threshold)


def _members(claim_id: str, statement: str, measure: fixed.Measure, comparison: str, threshold: float) -> Claim:
    parts = ("fixed", "members")
    return Claim(claim_id, f"Fixed data, ensembles: {statement}", _COMPUTE, parts, measure, comparison, threshold)


def _features(claim_id: str, source: str, statement: str, measure: features.Measure, bound: tuple[str, float]) -> Claim:
    return Claim(claim_id, f"Random features: {statement}", source, ("random_features",), measure, *bound)


def _regimes(claim_id: str, statement: str, measure: features.Measure) -> Claim:
    statement = f"Linear teacher, {statement}"
    return Claim(claim_id, statement, _REGIMES, ("random_features",), measure, "<=", 0.1)


CLAIMS = (
    _sizes("a1", "mean relative error of the law at held-out sizes and lengths", sizes.held_out_error, "<=", 0.03),
    _sizes("a2", "largest relative error there", sizes.largest_error, "<=", 0.06),
    _sizes("a3", "alpha, exponent of the parameters", sizes.exponent("alpha"), ">", 0),
    _sizes("a4", "beta, exponent of the bytes", sizes.exponent("beta"), ">", 0),
    _sizes("a5", "whether the cells identify all five numbers (1: yes)", sizes.identified, ">=", 1),
    _repeats(
        "b1", _EPOCH, "loss after 128 passes less after one, equal updates, nats", repeats.cost_of_passes(128),
        (">", 0.3),
    ),
    _repeats(
        "b2", _EPOCH, "smallest rise of the loss from 4 to 10, 32 and 128 passes, nats", repeats.smallest_step,
        (">", 0),
    ),
    _repeats(
        "b3", _EPOCH, "times fewer updates that one pass needs for the loss of 10 passes", repeats.speedup(10),
        (">=", 1.9),
    ),
    _repeats(
        "b4", _OWN, "times fewer updates that one pass needs for the loss of 32 passes", repeats.speedup(32),
        (">=", 1.9),
    ),
    _repeats(
        "b5", _EPOCH, "validation less training loss after one pass, nats", repeats.gap(1), ("<=", 0.05),
    ),
    _repeats(
        "b6", _SLICE, "a tenth of the windows from a slice: loss at the worst repetition between the ends less at the "
        "worse end, nats", repeats.interior_maximum(10), (">", 0),
    ),
    _repeats(
        "b7", _OWN, "half of the windows from a slice: loss at the worst repetition between the ends less at the worse "
        "end, nats", repeats.interior_maximum(2), (">", 0),
    ),
    _repeats(
        "b8", _SLICE, "a tenth of the windows from a slice: loss at the worst repetition less without, nats",
        repeats.worst_slice(10), (">", 0),
    ),
    _fixed("c1", "widest, no decay: loss after 16 passes less at the best number, nats", fixed.turn(last=True), ">",
           0.05),
    _fixed("c2", "widest, no decay: loss after 2 passes less at the best number, nats", fixed.turn(last=False), ">",
           0.05),
    _fixed("c3", "smallest fall of the loss from a width to the next, passes and decay tuned, nats",
           fixed.smallest_gain, ">", 0),
    _fixed("c4", "widest: what tuning the decay gains beside none, nats", fixed.decay_gain, ">", 0),
    _fixed("c5", "best decay of the widest over that of the narrowest", fixed.decay_ratio, ">=", 2),
    _members("c6", "share of the variance that E + A / K explains, K from 1 to 8, least over sets", fixed.explained,
             ">=", 0.99),
    _members("c7", "loss of one member less of all, nats", fixed.ensemble_gain, ">", 0),
    _members("c8", "tuned loss of the widest model less the limit of ensembles of the narrowest, nats",
             fixed.limit_gain, ">", 0),
    _features("d1", _DESCENT, "minimum norm: error at 100 features over the larger of that at 50 and 200",
              features.peak(MIN_NORM), (">", 10)),
    _features("d2", _DESCENT, "tuned ridge: largest rise from one number of features to the next",
              features.largest_rise(RIDGE), ("<=", 0.01)),
    _features("d3", _DESCENT, "100 steps: largest rise from one number of features to the next",
              features.largest_rise(FEW), ("<=", 0.01)),
    _features("d4", _DESCENT, "10,000 steps: error at 100 features over the larger of that at 50 and 200",
              features.peak(MANY), ("<=", 4)),
    _features("d5", _DESCENT, "condition number at 100 features over the largest at another number",
              features.condition_peak, (">", 1)),
    _features("d6", _OWN, "tuned ridge: largest |log| of the error over an independent computation's",
              features.from_independent(RIDGE), ("<=", 0.2)),
    _features("d7", _OWN, "100 steps: largest |log| of the error over an independent computation's",
              features.from_independent(FEW), ("<=", 0.2)),
    _features("d8", _OWN, "100 steps, trained: largest relative distance of the error from the formula's",
              features.trained_error, ("<=", 1e-3)),
    _regimes("e1", "16 features: |exponent - 1| of what more samples bring", features.slope_error(FEW_FEATURES)),
    _regimes("e2", "16 samples: |exponent - 1| of what more features bring", features.slope_error(FEW_SAMPLES)),
    *(
        _regimes(f"e{place}", f"spectrum i^-{1 + exponent:g}: |exponent of {side} - {exponent:g}|",
                 features.slope_error(regime, exponent))
        for place, (exponent, side, regime) in enumerate(
            [(exponent, side, regime) for exponent in EXPONENTS
             for side, regime in zip(("samples", "features"), RESOLUTION, strict=True)], start=3)
    ),
    *(
        _regimes(f"e{place}", f"spectrum i^-{1 + exponent:g}: distance of the two exponents",
                 features.slope_difference(exponent))
        for place, exponent in enumerate(EXPONENTS, start=7)
    ),
)  # fmt: skip
