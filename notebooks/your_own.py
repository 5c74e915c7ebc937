# %% [markdown]
# # Your own schedule, your own optimizer
#
# The point of a framework is what it does for something that it does not know. This notebook writes a schedule and an
# optimizer that `lrstudy` lacks, puts them to the tests that its own must pass, sweeps them beside AdamW, and times
# them on a workload of the benchmark. Everything is written in the notebook; nothing of the package is touched.

# %%
import dataclasses
import tempfile

import jax
import jax.numpy as jnp
import optax
import pandas as pd

from experiments.sweep import EXPERIMENT
from lrstudy.optimizers import Optimizer, with_float32_state
from lrstudy.optimizers import promises as optimizer_promises
from lrstudy.optimizers.decay import decay_mask
from lrstudy.schedules import Schedule, ScheduleError
from lrstudy.schedules import promises as schedule_promises
from lrstudy.study.call import run_study
from lrstudy.study.figures.gallery import drawn
from lrstudy.study.rows import add_optimizer, add_schedule
from lrstudy.study.views import curves_figure, losses_by, sweep_figure

# %% [markdown]
# ## A schedule
#
# The *slanted triangle* (Howard & Ruder 2018, [arXiv 1801.06146](https://arxiv.org/abs/1801.06146)): up in a straight
# line over a small share of the run, and down in another straight line to the peak over a ratio. A schedule is a frozen
# dataclass with a formula, `rate(step)`; the base class sees to everything else: what a step may be, the dictionary,
# the pytree. `total_steps` is filled in by a study, which knows how long a run is.


# %%
@add_schedule
@dataclasses.dataclass(frozen=True)
class SlantedTriangle(Schedule):
    """Up over ``cut`` of the steps, then down to ``peak / ratio`` at ``total_steps``."""

    peak: float
    total_steps: int
    cut: float = 0.1
    ratio: float = 32.0

    def rate(self, step):
        """The formula; fields are arrays here, and may be traced."""
        share = jnp.minimum(step, self.total_steps) / self.total_steps
        height = jnp.minimum(share / self.cut, (1 - share) / (1 - self.cut))
        return self.peak * (1 + height * (self.ratio - 1)) / self.ratio


drawn({f"cut {cut:g}": SlantedTriangle(1.0, 100, cut=cut) for cut in (0.1, 0.3, 0.5)})

# %% [markdown]
# Those are panels of the gallery of schedules. Now the promises that all schedules of the library keep: finite rates,
# the same bits for Python, NumPy and traced steps, one program for all numbers, lanes that do what each does alone, a
# derivative in every number, a dictionary from which it can be made again.

# %%
schedule_promises.check_promises(SlantedTriangle(0.01, 100))
print("SlantedTriangle keeps them all")

# %% [markdown]
# Would the check notice? Here are two bugs that people make. The first forgets that a run may go on after the
# schedule's end; the second decides in Python, which works until the step or a number is traced.


# %%
class Unclamped(SlantedTriangle):
    """Forgets to hold its end."""

    def rate(self, step):
        share = step / self.total_steps
        return self.peak * jnp.minimum(share / self.cut, (1 - share) / (1 - self.cut))


class Branching(SlantedTriangle):
    """Decides in Python."""

    def rate(self, step):
        return self.peak * (step / self.total_steps if self.cut > 0.5 else jnp.float32(1))


for cls in (dataclasses.dataclass(frozen=True)(Unclamped), dataclasses.dataclass(frozen=True)(Branching)):
    try:
        schedule_promises.check_promises(cls(0.01, 100), steps=range(121))
    except (schedule_promises.PromiseError, jax.errors.JAXTypeError) as error:
        print(f"{cls.__name__} is refused, {type(error).__name__}: {str(error).splitlines()[0][:110]}")
try:
    SlantedTriangle(0.01, 100)(2.5)
except ScheduleError as error:
    print(f"a step that is no int, too: {error}")

# %% [markdown]
# ## An optimizer
#
# *Cautious* steps (Liang et al. 2024, [arXiv 2411.16085](https://arxiv.org/abs/2411.16085)): of AdamW's direction only
# those entries are kept whose sign is that of the present gradient, and what is left is scaled up by how little it is.
# As optax has it: a transform of the pure direction, to be chained with decay and rate.


# %%
def cautious(pure: optax.GradientTransformation) -> optax.GradientTransformation:
    """Keeps the entries of a direction whose sign is that of the gradient; the mean of the mask is divided out."""

    def update(grads, state, params=None):
        steps, state = pure.update(grads, state, params)

        def masked(step, grad):
            agrees = (step * grad > 0).astype(step.dtype)
            return step * agrees / jnp.maximum(agrees.mean(), 1e-3)

        return jax.tree.map(masked, steps, grads), state

    return optax.GradientTransformation(pure.init, update)


def build(learning_rate, *, b1, b2, eps, weight_decay, around=None):
    """The row's transform; ``around`` is how a parametrization scales it tensor by tensor."""
    direction = cautious(optax.scale_by_adam(b1, b2, eps))
    direction = direction if around is None else around(direction)
    decay = optax.add_decayed_weights(weight_decay, mask=decay_mask)
    return with_float32_state(optax.chain(direction, decay, optax.scale_by_learning_rate(learning_rate)))


add_optimizer(
    "cautious_adamw",
    Optimizer(
        build=build,
        defaults={"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 1e-4},
        bounds={"b1": (0.0, 1.0), "b2": (0.0, 1.0), "eps": (0.0, 1.0), "weight_decay": (0.0, 1.0)},
        family_of=lambda _: "adam",
        paper="Liang et al. 2024, arXiv 2411.16085",
    ),
)

# %% [markdown]
# The promises of transforms: nothing is NaN after a first gradient of zeros, hyperparameters may be traced and become
# lanes, low-precision parameters have float32 state, buffers can be donated, the state's shapes are known beforehand.


# %%
def direction(b1, b2, eps):
    return cautious(optax.scale_by_adam(b1, b2, eps))


optimizer_promises.check_promises(direction, {"b1": 0.9, "b2": 0.999, "eps": 1e-8})
print("cautious Adam keeps them all")


def careless(b1, b2, eps):
    """As above, but divides by the mean of the mask, whatever it is."""

    def update(grads, state, params=None):
        steps, state = pure.update(grads, state, params)
        masks = jax.tree.map(lambda step, grad: (step * grad > 0).astype(step.dtype), steps, grads)
        return jax.tree.map(lambda step, mask: step * mask / mask.mean(), steps, masks), state

    pure = optax.scale_by_adam(b1, b2, eps)
    return optax.GradientTransformation(pure.init, update)


try:
    optimizer_promises.check_promises(careless, {"b1": 0.9, "b2": 0.999, "eps": 1e-8})
except schedule_promises.PromiseError as error:
    print(f"the careless one is refused: {error}")

# %% [markdown]
# A layer that gets no gradient for one step, behind a dead unit or an unused embedding, is all that it takes for the
# careless one to ruin a run.
#
# ## Is it any good? A paired comparison
#
# Both are names now, as if they were rows of the tables: `--config.schedule=SlantedTriangle`,
# `--sweep.optimizer=adamw,cautious_adamw`, `--config.schedule.cut=0.2`. Five rates, five seeds; the two optimizers see
# the same initial parameters and the same batches, so their losses can be compared seed by seed.

# %%
folder = tempfile.TemporaryDirectory()
flags = (
    "--config.task=digits",
    "--config.schedule=SlantedTriangle",
    "--config.schedule.cut=0.2",
    "--config.steps=100",
    "--config.evaluate_every=10",
    "--sweep.optimizer=adamw,cautious_adamw",
    "--sweep.schedule.peak=0.003,0.01,0.03,0.1,0.3",
    "--sweep.seed=1,2,3,4,5",
)
records = run_study(EXPERIMENT, *flags, workdir=folder.name, quiet=True).records.asked()
sweep_figure(records)

# %%
from lrstudy.study.claims import paired

losses = {
    name: losses_by(records.where(optimizer=name), "schedule.peak", "validation_loss")
    for name in ("adamw", "cautious_adamw")
}
best = {name: float(own.mean(axis=1).idxmin()) for name, own in losses.items()}
found = paired(*(losses[name].loc[best[name]].to_numpy() for name in losses), lambda one, other: other - one)
print(f"best rate of the grid: {best}")
interval = f"[{found.low:+.4f}, {found.high:+.4f}]"
print(f"cautious minus plain, each at its best: {found.value:+.4f} nats, 95% interval {interval}")
settled = "does not reach across" if found.low * found.high > 0 else "reaches across"
print(f"over {found.n} seeds; the interval {settled} zero")

# %% [markdown]
# The interval is what to look at. Where it reaches across zero, five seeds have not told the two apart, and a claim
# that one is better would be a claim about noise. And each is at the best rate *of the grid*, chosen on these same
# seeds, so both are a little better here than they would be on others.

# %%
curves_figure(records.chosen(records.runs["schedule.peak"].eq(records.runs["optimizer"].map(best))))

# %% [markdown]
# ## How soon? The benchmark
#
# Time to a target is another question: how many updates until a validation loss is met that was fixed beforehand, when
# hyperparameters are drawn from a space that is the same for all workloads (AlgoPerf's rules, Dahl et al. 2023, [arXiv
# 2306.07179](https://arxiv.org/abs/2306.07179)). `python -m experiments.benchmark` does this on six workloads and their
# held-out variants, with three studies of five trials; here it is one small workload, and three studies of two.

# %%
from lrstudy.benchmark import score
from lrstudy.benchmark.rows import row
from lrstudy.benchmark.space import Range
from lrstudy.benchmark.studies import run_studies, times_table
from lrstudy.benchmark.submission import Ruleset
from lrstudy.benchmark.targets import target_of
from lrstudy.benchmark.workload import workload

one, target = workload("digits_mlp"), target_of(workload("digits_mlp"))
space = {"learning_rate": Range(5e-3, 0.1), "one_minus_b1": Range(0.02, 0.5)}
submissions = [row("adamw", space=space), row("cautious_adamw", space=space)]
trials = {
    (submission.name, one.name): run_studies(one, submission, Ruleset(3, 2, 1.0), target=target, seed=1)
    for submission in submissions
}
times = times_table(submissions, trials)
met = {
    name: f"{sum(trial['steps_to_target'] is not None for trial in own)} of {len(own)}"
    for (name, _), own in trials.items()
}
print(f"target: validation loss {target:.4f} within {one.step_hint} updates")
times.assign(score=pd.Series(score(times)), **{"trials that met it": pd.Series(met)})

# %% [markdown]
# A time is the median over studies of the fastest trial of each, in updates; `inf` is a miss. The score is AlgoPerf's:
# the area under the share of workloads that a submission meets within a factor of the fastest, so with one workload it
# says little more than the time does. Two trials a study are few, which is why the command below has more.

# %%
folder.cleanup()

# %% [markdown]
# ## Where to go next
#
# A class in a file of the package is better than one in a cell: [CONTRIBUTING.md](../CONTRIBUTING.md) has a schedule
# and an optimizer to copy, each with its row of a table and its case of the tests, which then run over it. An optimizer
# in a file of your own can be timed as it is:
#
# ```sh
# python -m experiments.benchmark --submission=adamw,my_optimizer:make --space=space.json --workdir=runs/benchmark
# python -m experiments.sweep --workdir=runs/mine --config.task=text --sweep.optimizer=adamw,lion,muon \
#     --sweep.schedule.peak=1e-4:1e-1:8:log --sweep.seed=1,2,3
# python -m lrstudy.study.figures.gallery --output=schedules.svg
# ```
#
# * [first_steps](first_steps.ipynb): schedules, transforms and sweeps from the start.
# * [sharpness](sharpness.ipynb): what bounds the rate that an optimizer can bear.
