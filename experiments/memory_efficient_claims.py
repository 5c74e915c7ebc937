"""What the papers on saved state say, as numbers; thresholds were fixed before the deciding seeds were run."""

from experiments import memory_efficient_measures as measures
from experiments.memory_efficient_measures import METHODS, Measure
from lrstudy.study.claims import Claim

_EQUAL = "this study: equal memory"
_SMALLER = "Zmushko et al. 2024, introduction: memory that is saved"
_HEADLINE = "Zmushko et al. 2024, abstract: better than other methods in equal memory"
_SUBSPACES = "Zmushko et al. 2024: the kind of subspace matters little"
_FULL = "Zmushko et al. 2024: close to Adam with all of its state"
_NONE = "Zmushko et al. 2024, abstract: density 0 still works"
_RESET = "momentum that is reset"


def _claim(claim_id: str, statement: str, source: str, measure: Measure, comparison: str, threshold: float) -> Claim:
    return Claim(claim_id, statement, source, tuple(METHODS), measure, comparison, threshold)


CLAIMS = (
    _claim("a1", "Weights and state, bytes: AdamW's narrower models over FRUGAL at 1/4, 1/2 and 0, largest", _EQUAL,
           measures.largest_share({"adamw_quarter": "frugal_quarter", "adamw_half": "frugal_half",
                                   "adamw_none": "frugal_none"}), "<=", 1),
    _claim("a2", "State, bytes: FRUGAL at 1/4, its singular directions and GaLore, most over least, less 1", _EQUAL,
           measures.unequal(("frugal_quarter", "frugal_svd", "galore"), "state"), "<=", 0.03),
    _claim("a3", "State, bytes: FRUGAL at 1/2 and LISA, most over least, less 1", _EQUAL,
           measures.unequal(("frugal_half", "lisa"), "state"), "<=", 0.03),
    _claim("b1", "Loss of AdamW on a narrower model less FRUGAL's at 1/4, equal bytes, nats", _SMALLER,
           measures.more("adamw_quarter", "frugal_quarter"), ">=", 0.02),
    _claim("b2", "Loss of AdamW on a narrower model less FRUGAL's at 1/2, equal bytes, nats", _SMALLER,
           measures.more("adamw_half", "frugal_half"), ">=", 0.02),
    _claim("b3", "Loss of AdamW on a narrower model less GaLore's, equal bytes, nats", _SMALLER,
           measures.more("adamw_quarter", "galore"), ">=", 0),
    _claim("b4", "Loss of AdamW on a narrower model less LISA's, equal bytes, nats", _SMALLER,
           measures.more("adamw_half", "lisa"), ">=", 0),
    _claim("c1", "Loss of GaLore less FRUGAL's at 1/4, equal state, nats", _HEADLINE,
           measures.more("galore", "frugal_quarter"), ">=", 0.02),
    _claim("c2", "Loss of LISA less FRUGAL's at 1/2, equal state, nats", _HEADLINE,
           measures.more("lisa", "frugal_half"), ">=", 0.02),
    _claim("c3", "Loss of GaLore less FRUGAL's in singular directions, which keeps the rest of the gradient, nats",
           _HEADLINE, measures.more("galore", "frugal_svd"), ">=", 0.02),
    _claim("c4", "FRUGAL: loss with singular directions less with columns, equal state, absolute, nats", _SUBSPACES,
           measures.apart("frugal_svd", "frugal_quarter"), "<=", 0.02),
    _claim("d1", "Loss of FRUGAL at 1/4 less AdamW's with all of its state, nats", _FULL,
           measures.more("frugal_quarter", "adamw"), "<=", 0.02),
    _claim("e1", "Loss of FRUGAL at density 0 less at 1/4, nats", _NONE,
           measures.more("frugal_none", "frugal_quarter"), "<=", 0.05),
    _claim("e2", "Loss of AdamW on a narrower model less FRUGAL's at density 0, equal bytes, nats", _NONE,
           measures.more("adamw_none", "frugal_none"), ">=", 0),
    _claim("f1", "Loss of AdamW that begins anew every 100 updates less AdamW's, absolute, nats", _RESET,
           measures.apart("reset", "adamw"), "<=", 0.02),
)  # fmt: skip
