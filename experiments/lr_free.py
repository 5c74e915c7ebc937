"""Learning-rate-free methods at their defaults and calibrated, beside a calibrated NAdamW, on the whole benchmark.

python -m experiments.lr_free --preset=cpu --workdir=runs/lr_free
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from experiments import lr_free_claims as claims
from experiments import lr_free_measures as measures
from experiments import lr_free_views as views
from experiments.lr_free_probes import timed
from experiments.lr_free_submissions import BASELINE, DEFAULT_RATE, FREE
from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Part, axis
from lrstudy.study.probes import Probe


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a preset changes: sizes alone, never what is asked.

    Attributes:
        seeds: of the runs that are shown, and of the trials that are timed.
        steps: of the runs that are shown.
        methods: that take part.
        width: of the transformer of the runs that are shown.
    """

    seeds: tuple[int, ...]
    steps: int = 400
    methods: tuple[str, ...] = (BASELINE, *FREE)
    width: int = 32


# The seeds decide; spaces, budgets and thresholds were chosen on seeds 1 to 9.
SCALES: Mapping[str, Scale] = {
    "smoke": Scale((1, 2), 20, (BASELINE, "dog"), 8),
    "cpu": Scale((2301, 2302, 2303, 2304, 2305)),
}


def parts(scale: Scale) -> Mapping[str, Part]:
    """The text workload under every method's defaults: the rates that they find."""
    base = RunConfig(
        task=choice("task", "text", context=32, batch_size=16, validation_windows=64),
        model=choice("model", "transformer", width=scale.width, layers=2, heads=2),
        schedule=choice("schedule", "Cosine", peak=1.0, warmup_style="skip_zero", warmup_steps=scale.steps // 20),
        optimizer=choice("optimizer", BASELINE),
        steps=scale.steps,
        record_every=max(1, scale.steps // 40),
        evaluate_every=max(1, scale.steps // 40),
    )
    methods: list[Mapping[str, Any]] = [
        {"optimizer": choice("optimizer", name, **({"rule": "algoperf"} if name == BASELINE else {})),
         "schedule.peak": DEFAULT_RATE[name]}
        for name in scale.methods
    ]  # fmt: skip
    return {"text": Part(base, [methods, axis("seed", scale.seeds)])}


EXPERIMENT = Experiment(
    name="lr_free",
    title="Learning-rate-free methods at their defaults, and calibrated",
    paper="Kasimbeg et al. 2025, How far away are truly hyperparameter-free learning algorithms?, arXiv 2505.24005",
    asks="do methods that estimate their rate meet targets untuned, and do they keep up with NAdamW when both "
    "are calibrated?",
    question="Methods that estimate their learning rate promise training without tuning. Do they meet the targets of a "
    "benchmark at their published defaults? And once every method, and NAdamW beside them, may choose one "
    "configuration for all workloads together from equally many points, do they keep up with it?",
    presets={name: (lambda scale=scale: parts(scale)) for name, scale in SCALES.items()},
    claims=claims.CLAIMS,
    probes=(Probe("times", "text", timed),),
    figures=(
        Figure(
            "profiles",
            "Performance profiles: the share of workloads whose target is met within so many times what the fastest of "
            "all methods, default or calibrated, needs. Left: published defaults; right: calibrated.",
            ("text",),
            views.profiles,
        ),
        Figure(
            "lags",
            "Where each method lags: median updates to the target over the fastest method's, by workload. x: "
            "the target was missed; the number is the best loss over the target.",
            ("text",),
            views.lags,
        ),
        Figure(
            "rates",
            "Text workload at published defaults: the learning rate that each method applied, and its validation loss.",
            ("text",),
            views.rates,
        ),
    ),
    tables=(
        Table("scores", "Exact score of every method among all, default and calibrated, with 95% bootstrap intervals "
              "over studies (of the one calibration that there was), and the workloads whose target its median study "
              "met", ("text",), measures.score_table),
        Table("times", "Median updates to the target (inf: missed)", ("text",), measures.time_table),
        Table("points", "The calibrated point of every method", ("text",), measures.point_table),
    ),
)  # fmt: skip

if __name__ == "__main__":
    main(EXPERIMENT)
