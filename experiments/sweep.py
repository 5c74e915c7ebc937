r"""Any configuration, any axes: the study with no paper behind it.

python -m experiments.sweep --workdir=runs/mine --config.task=text --config.task.path=my.txt \
    --sweep.schedule.peak=1e-4:1e-1:8:log --sweep.seed=0,1,2
"""

from collections.abc import Mapping

from lrstudy.study.choices import choice
from lrstudy.study.config import RunConfig
from lrstudy.study.experiment import Experiment, Figure, Table
from lrstudy.study.main import main
from lrstudy.study.part import Part
from lrstudy.study.views import curves_figure, summary, sweep_figure


def _parts(steps: int) -> Mapping[str, Part]:
    base = RunConfig(
        task=choice("task", "text"),
        schedule=choice("schedule", "WSD", peak=0.006, warmup_steps=steps // 20, decay_fraction=0.2),
        optimizer=choice("optimizer", "adamw", b2=0.99, weight_decay=0.1),
        clip_norm=1.0,
        steps=steps,
        evaluate_every=max(10, steps // 100 * 10),
    )
    return {"": Part(base)}


EXPERIMENT = Experiment(
    name="sweep",
    title="A sweep",
    asks="your own question: any configuration, any axes",
    question="How the final loss depends on what was swept; the settings and seeds are in the tables below.",
    presets={
        "smoke": lambda: _parts(20),
        "cpu": lambda: _parts(500),
        "gpu": lambda: _parts(5_000),
        "paper": lambda: _parts(100_000),
    },
    figures=(
        Figure(
            "loss_against_rate", "Final loss against the swept number, of the best eight settings.", ("",), sweep_figure
        ),
        Figure("curves", "Learning rate and loss against the step, range over seeds as a band.", ("",), curves_figure),
    ),
    tables=(Table("summary", "Every setting: mean and standard error over seeds", ("",), summary),),
)

if __name__ == "__main__":
    main(EXPERIMENT)
