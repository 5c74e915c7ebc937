"""What "How far away are truly hyperparameter-free learning algorithms?" says, as numbers."""

from experiments import lr_free_measures as measures
from lrstudy.study.claims import Claim

_SOURCE = "Kasimbeg et al. 2025, arXiv 2505.24005, abstract"

CLAIMS = (
    Claim(
        "a1",
        "Published defaults of learning-rate-free methods are poor: share of targets that they meet",
        _SOURCE,
        ("text",),
        measures.met_by_default,
        "<",
        0.5,
    ),
    Claim(
        "a2",
        "Calibrated on all workloads together they are better: score added, mean over methods",
        _SOURCE,
        ("text",),
        measures.gained,
        ">",
        0.05,
    ),
    Claim(
        "b1",
        "The best of them still lags behind NAdamW that was calibrated as they were: difference of scores",
        _SOURCE,
        ("text",),
        measures.ahead_of_best,
        ">",
        0,
    ),
    Claim(
        "b2",
        "It lags slightly: the same difference",
        _SOURCE,
        ("text",),
        measures.ahead_of_best,
        "<",
        0.25,
    ),
    Claim(
        "b3",
        "They lag in the mean over methods: difference of scores",
        "this study",
        ("text",),
        measures.ahead_of_all,
        ">",
        0.1,
    ),
    Claim(
        "c1",
        "NAdamW's own published default is poor too: score that calibration adds",
        "this study",
        ("text",),
        measures.baseline_gained,
        ">",
        0.05,
    ),
)
