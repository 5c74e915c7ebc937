"""The claims of the study of sharpness: what is measured, and thresholds that were fixed before the run.

The 3% of a, the range of b and the 1% of c1 and c2 are the project's own test, from the theory of a quadratic. The
other thresholds were chosen on seeds 1 to 3 (text: 1 and 2).

What e cannot tell: within a phase the rate is a function of the step, so its rank correlation with the sharpness is the
step's, and no run at a constant rate goes on beside the decay. On the deciding seeds the sharpness rose by a quarter
already while the rate was constant, Adam's preconditioned sharpness did not.
"""

from collections.abc import Sequence

from experiments import sharpness_measures as measures
from experiments.sharpness_measures import HIGH, LOW, METHODS, Measure
from lrstudy.study.claims import Claim, largest, smallest

_EDGE = "Cohen et al. 2021, arXiv 2103.00065"
_ADAPTIVE = "Cohen et al. 2022, arXiv 2207.14484"
_NOISE = "Wu & Su 2023, arXiv 2305.17490"
_CATAPULT = "Lewkowycz et al. 2020, arXiv 2003.02218"
_WARMUP = "Gilmer et al. 2021, arXiv 2110.04369"
_OWN = "the study's own"
_RATE = "rate x sharpness"
_TEXT = {"hessian": "sharpness", "preconditioned": "Adam's preconditioned sharpness"}
_PROBLEMS = {
    "exact": "Orthogonal examples, one a step",
    "relu": "ReLU network, one example a step",
    "diagonal": "Diagonal linear network, one example a step",
}


def _descent(claim_id: str, text: str, measure: Measure, comparison: str, threshold: float) -> Claim:
    return Claim(claim_id, f"Whole sample, {text}", _EDGE, ("descent",), measure, comparison, threshold)


def _adam(claim_id: str, text: str, measure: Measure, comparison: str, threshold: float) -> Claim:
    statement = f"Whole sample, Adam: rate x preconditioned sharpness, late, {text}"
    return Claim(claim_id, statement, _ADAPTIVE, ("adam",), measure, comparison, threshold)


def _noise(claim_id: str, part: str, text: str, measure: Measure, comparison: str, threshold: float) -> Claim:
    return Claim(claim_id, f"{_PROBLEMS[part]}: {text}", _NOISE, (part,), measure, comparison, threshold)


def _early(claim_id: str, part: str, text: str, measure: Measure, comparison: str, threshold: float) -> Claim:
    source = {"catapult": _CATAPULT, "warmup": _WARMUP}[part]
    return Claim(claim_id, text, source, (part,), measure, comparison, threshold)


def _text(claim_id: str, text: str, measure: Measure, comparison: str, threshold: float) -> Claim:
    return Claim(claim_id, f"Text: {text}", _WARMUP, ("text",), measure, comparison, threshold)


_LOW, _HIGH = f"Start below the edge, rate {LOW:g}", f"Start above the edge, rate {HIGH:g}"
_WARM = f"Warmup to a rate of {measures.WARMUP_RATE:g} gamma^2"

CLAIMS: Sequence[Claim] = (
    *(
        _descent(f"a{i}", f"{method.name}: distance of the late sharpness from {method.threshold:.4g} / rate, relative",
                 measures.distance_from_edge(method), "<=", 0.03)
        for i, method in enumerate(METHODS, start=1)
    ),
    _descent("a5", "sharpness before training over the threshold, largest of the methods'", measures.largest_start,
             "<=", 0.3),
    _adam("b1", "smallest of the rates'", measures.adam_at_edge(smallest), ">=", 36.0),
    _adam("b2", "largest of the rates'", measures.adam_at_edge(largest), "<=", 39.5),
    _noise("c1", "exact", "largest rate that shrinks the loss, over 2 / trace", measures.largest_stable, ">=", 0.99),
    _noise("c2", "exact", "smallest rate that does not, over 2 / trace", measures.smallest_unstable, "<=", 1.01),
    _noise("c3", "exact", "whole sample at any of these rates, final loss over the first, largest",
           measures.whole_sample_growth, "<", 1.0),
    _noise("c4", "relu", "final trace, each rate over the one before, largest", measures.trace_falls("relu"), "<", 1.0),
    _noise("c5", "relu", "final trace, largest rate over smallest", measures.trace_drop("relu"), "<=", 0.75),
    _noise("c6", "relu", "largest rate, final trace from single examples over that of the whole sample",
           measures.trace_of_noise("relu"), "<=", 0.75),
    _noise("c7", "relu", "final trace over 2 / rate, largest of the rates'", measures.trace_share("relu"), "<=", 1.0),
    _noise("c8", "diagonal", "final trace, each rate over the one before, largest", measures.trace_falls("diagonal"),
           "<", 1.0),
    _noise("c9", "diagonal", "final trace, largest rate over smallest", measures.trace_drop("diagonal"), "<=", 0.6),
    _noise("c10", "diagonal", "largest rate, final trace from single examples over that of the whole sample",
           measures.trace_of_noise("diagonal"), "<=", 0.6),
    _noise("c11", "diagonal", "final trace over 2 / rate, largest of the rates'", measures.trace_share("diagonal"),
           "<=", 1.0),
    _early("d1", "catapult", f"{_HIGH}: {_RATE} before training", measures.before_training(HIGH), ">=", 2.0),
    _early("d2", "catapult", f"{_HIGH}: largest loss over that before training", measures.loss_rise, ">=", 1.5),
    _early("d3", "catapult", f"{_HIGH}: sharpness after a quarter of the updates over that before training",
           measures.early_change(HIGH), "<=", 0.8),
    _early("d4", "catapult", f"{_HIGH}: {_RATE} after training", measures.at_the_end(HIGH), "<=", 2.05),
    _early("d5", "catapult", f"{_HIGH}: last loss over that before training", measures.loss_fall, "<=", 0.01),
    _early("d6", "catapult", f"{_LOW}: sharpness after a quarter of the updates over that before training",
           measures.early_change(LOW), ">=", 1.1),
    _early("d7", "warmup", f"{_WARM}: sharpness at its end over that when {_RATE} reached 2", measures.warmup_fall,
           "<=", 0.3),
    _early("d8", "warmup", f"{_WARM}: {_RATE} from then on, mean", measures.warmup_level, ">=", 1.8),
    _early("d9", "warmup", f"{_WARM}: {_RATE} from then on, mean", measures.warmup_level, "<=", 2.5),
    *(
        claim
        for operator, first, fall, rise in (("hessian", 1, 0.75, 1.2), ("preconditioned", 5, 0.7, 1.1))
        for claim in (
            _text(f"e{first}", f"{_TEXT[operator]} at the constant rate over that early in the warmup",
                  measures.text_change(operator, "early", "stable"), "<=", fall),
            _text(f"e{first + 1}", f"{_TEXT[operator]} after the decay over that at the constant rate",
                  measures.text_change(operator, "stable", "end"), ">=", rise),
            _text(f"e{first + 2}", f"Spearman's correlation of rate and {_TEXT[operator]} along the warmup",
                  measures.text_agreement(operator, decay=False), "<=", -0.3),
            _text(f"e{first + 3}", f"Spearman's correlation of rate and {_TEXT[operator]} along the decay",
                  measures.text_agreement(operator, decay=True), "<=", -0.5),
        )
    ),
)  # fmt: skip
