"""The claims of the study of laziness: what is measured, and thresholds that were fixed before the run.

What is derived (``lrstudy/tasks/polynomial_regression.py`` has the model). With s = alpha u descent is smooth in
1 / alpha, and its limit is the linearised model; so f - f_lin and the kernel's change are 1 / alpha to first order, a
slope of -1 in logarithms, once alpha is far above D / eps. In the rich regime the second moment M of the weights along
the target's direction grows at a rate proportional to (eps / alpha) M, so that times are proportional to alpha but for
a logarithm: a slope of 1, and more where the sample is fitted before, which leaves little residual to learn features
from. A clock that runs slower also lengthens a delay, so the ratio of the two times is asked for beside their
difference.

After the run: b5 and e7 fail, as on the development seeds, and were asked all the same. b5: a smaller eps slows fitting
more than it slows generalising, so that the delay grows (b4) but less than the time to fit; at one alpha it also makes
the run richer, as alpha eps / D falls. e7: the readout's norm is held too, so that it cannot raise the margins of what
it already classifies. On seeds 1 to 4 the projection of the hidden kernels alone ends at 0.013 nats, that of all at
0.072, and Adam at 0.016; the accuracy (e6) hardly suffers. e2 and e3 are of Adam whose averages have one memory
(b1 = b2): with b2 = 0.99 the direction shrinks along with the gradients, and on seeds 1 to 3 the slope was 1.1 to 1.5
at first rates of 0.01 and 0.03 (and 1.3 to 2.4 without the projection). They are also of one first rate: at 0.001 and
0.03, on seeds 1 to 4, the slope was 1.09 and 0.94.
"""

from collections.abc import Callable

from experiments import lazy_to_rich_measures as measures
from lrstudy.study.claims import Claim, Measurement, absolute, mean_interval
from lrstudy.study.records import Records

_LAZY, _DERIVED, _PROJECTION = "arXiv 2310.06110", "derived, experiments/lazy_to_rich_claims.py", "arXiv 2407.01800"
_RICH, _LINEAR = measures.ALPHAS[0], measures.ALPHAS[-1]
_ALIGNED = "kernel's alignment with the target, after training over before"
_FAR = "largest distance from kernel regression on the way, over the target"
_LATER = "time to generalise over time to fit"
_FALLS = "at alpha >= 1000, slope from -1"
_LEFT = f"test loss over that before training, where the sample's is {measures.FITTED:g}"
_DRIFT = "drift of an update's angle over the rate, logarithm"


def _scale(
    claim_id: str, text: str, source: str, measure: measures.Measure, comparison: str, threshold: float
) -> Claim:
    return Claim(claim_id, f"Regression: {text}", source, ("scale",), measure, comparison, threshold)


def _alignment(claim_id: str, text: str, measure: measures.Measure, threshold: float) -> Claim:
    return Claim(claim_id, f"Regression: {text}", _LAZY, ("alignment",), measure, ">", threshold)


def _digits(claim_id: str, text: str, measure: measures.Measure, comparison: str, threshold: float) -> Claim:
    return Claim(claim_id, f"Digits: {text}", _PROJECTION, ("projection",), measure, comparison, threshold)


def _gap(alpha: float) -> measures.Measure:
    return lambda records: mean_interval(measures.gaps(records, alpha))


def _trained(value: Callable[[Records], measures.Samples], optimizer: str) -> measures.Measure:
    return lambda records: mean_interval(value(measures.trained_by(records, optimizer)))


def _rate_error(records: Records) -> Measurement:
    return absolute(mean_interval(measures.rate_slopes(measures.trained_by(records, "nap")) - 1))


def _at(alpha: float, value: Callable[[Records], measures.Samples]) -> measures.Measure:
    return measures.of_scale(value, alpha)


_by_scale, _by_alignment = measures.by_scale, measures.by_alignment
_growth, _ratio = measures.smallest_growth, measures.ratio_grows

CLAIMS = (
    _scale("a1", "kernel's change, each alpha over the one before; largest", _LAZY, measures.change_falls, "<", 1),
    _scale("a2", f"kernel's change {_FALLS}", _DERIVED, measures.change_slope, "<=", 0.05),
    _scale("a3", f"alpha {_RICH:g}: {_ALIGNED}", _LAZY, _at(_RICH, measures.alignment_gain), ">=", 5),
    _scale("a4", f"alpha {_LINEAR:g}: {_ALIGNED}", _LAZY, _at(_LINEAR, measures.alignment_gain), "<=", 1.01),
    _scale("b1", "delay, each alpha over the one before, 0.1 to 1.6; smallest", _LAZY, _growth(_by_scale), ">", 1),
    _scale("b2", "delay against alpha, 0.1 to 1.6, slope", _DERIVED, measures.delay_slope, ">=", 0.75),
    _scale("b3", f"{_LATER}, at alpha 1.6 over at 0.1", _LAZY, _ratio(_by_scale), ">=", 1.25),
    _alignment("b4", "delay, each eps over the one before, 0.4 to 0.1; smallest", _growth(_by_alignment), 1),
    _alignment("b5", f"{_LATER}, at eps 0.1 over at 0.4", _ratio(_by_alignment), 1),
    _scale(
        "c1",
        f"distance from kernel regression {_FALLS}",
        _DERIVED,
        measures.gap_slope,
        "<=",
        0.05,
    ),
    _scale("c2", f"alpha {_LINEAR:g}: {_FAR}", _DERIVED, _gap(_LINEAR), "<=", 0.01),
    _scale("c3", f"alpha {_RICH:g}: {_FAR}", _LAZY, _gap(_RICH), ">=", 0.3),
    _scale("d1", f"alpha {_RICH:g}: {_LEFT}", _LAZY, _at(_RICH, measures.loss_at_fit), "<=", 0.05),
    _scale("d2", f"alpha {_LINEAR:g}: {_LEFT}", _LAZY, _at(_LINEAR, measures.loss_at_fit), ">=", 0.25),
    _digits(
        "e1", "projected: farthest relative distance of a kernel's norm from its first", measures.norm_error, "<=", 1e-6
    ),
    _digits("e2", "projected: slope of an update's angle against the rate, from 1", _rate_error, "<=", 0.1),
    _digits("e3", f"projected: {_DRIFT}, its size", measures.projected_drift, "<=", 0.2),
    _digits("e4", f"not projected: {_DRIFT}", _trained(measures.drifts, "adam"), "<=", -0.35),
    _digits(
        "e5", "not projected: norm of all parameters, last over first", _trained(measures.growth, "adam"), ">=", 1.5
    ),
    _digits("e6", "validation accuracy, projected less not", measures.finals("validation_accuracy"), ">=", -0.01),
    _digits("e7", "validation loss, projected less not, nats", measures.finals("validation_loss"), "<=", 0.02),
)
