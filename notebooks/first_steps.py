# %% [markdown]
# # First steps
#
# A schedule, an optimizer, a sweep: the three things one does most with `lrstudy`, each in a few lines. Everything here
# is a call of the library; it runs on a laptop's CPU in well under a minute.

# %%
import dataclasses
import tempfile
from pathlib import Path

import jax
import numpy as np
import optax
import pandas as pd

from lrstudy import optimizers
from lrstudy.models import MLP
from lrstudy.schedules import WSD, Constant, Cosine, stack
from lrstudy.study.figures.style import COLOURS, panels
from lrstudy.tasks import Digits

# %% [markdown]
# ## A schedule is a function of the step
#
# A schedule is a frozen dataclass that is called with the number of updates made so far and gives the learning rate of
# the next one. Here a *warmup-stable-decay* schedule: up in a straight line, flat, and down over the last fifth.

# %%
STEPS = 200
wsd = WSD(0.02, total_steps=STEPS, warmup_steps=20, decay_fraction=0.2, shape="linear")
boundaries = {
    "first update": 0,
    "last of the warmup": 19,
    "warmup over": 20,
    "last before the decay": 159,
    "decay begins": 160,
    "last update": 199,
    "end": 200,
    "far beyond": 10_000,
}
pd.DataFrame(
    {"step": boundaries.values(), "rate": [float(wsd(step)) for step in boundaries.values()]}, index=list(boundaries)
)

# %% [markdown]
# Phases are half-open: the rate is *exactly* the peak at `warmup_steps`, still exactly the peak where the decay begins,
# and exactly the end at `total_steps`, where it stays. The last update is made at step `total_steps - 1`, so its rate
# is not zero yet. Being off by one here is the commonest bug of schedules written by hand.

# %%
assert wsd(20) == wsd(160) == np.float32(0.02) > wsd(161)
assert wsd(199) > wsd(200) == wsd(10_000) == 0

schedules = {
    "WSD": wsd,
    "Cosine": Cosine(0.02, total_steps=STEPS, warmup_steps=20),
    "Constant": Constant(0.02, warmup_steps=20),
}
steps = np.arange(STEPS + 1)
figure, axes = panels(1, 1, width=6.0)
for (name, schedule), colour in zip(schedules.items(), COLOURS, strict=False):
    axes[0, 0].step(steps, schedule(steps), where="post", color=colour, label=name)
axes[0, 0].set(xlabel="step (optimizer updates)", ylabel="learning rate")
axes[0, 0].legend()
figure

# %% [markdown]
# A schedule is also a pytree whose numbers are its leaves. That is the idea the whole library is built on:
# hyperparameters are data. They may be traced, batched, and differentiated.

# %%
several = stack([dataclasses.replace(wsd, peak=peak) for peak in (0.01, 0.02, 0.04)])
print("three schedules at step 180:", jax.vmap(lambda schedule: schedule(180))(several))
slope = jax.grad(lambda peak: dataclasses.replace(wsd, peak=peak)(180))(0.02)
print("derivative of the rate at step 180 with respect to the peak:", slope)

# %% [markdown]
# ## A transform takes it
#
# Nothing here needs a framework: `optax.adamw(schedule)` is all there is to it, in a loop that you write. A *task* says
# what is trained. Its batch is a function of (seed, step), so there is no state of a data loader to save. Beside
# optax's own optimizers there are those of `lrstudy.optimizers.TABLE`, each a row with its hyperparameters and its
# paper.

# %%
task = Digits(batch_size=64, model=MLP(outputs=10))
data = task.load()


def train(transform: optax.GradientTransformation, seed: int) -> tuple[np.ndarray, float]:
    """Losses of the batches, and the accuracy on the validation images at the end."""
    params = task.init(jax.random.key(seed))
    state = transform.init(params)

    @jax.jit
    def update(params, state, step):
        batch = task.batch(data, seed, step)
        (loss, _), grads = jax.value_and_grad(task.loss, has_aux=True)(params, batch)
        updates, state = transform.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    losses = []
    for step in range(STEPS):
        params, state, loss = update(params, state, step)
        losses.append(loss)
    return np.asarray(losses), float(task.evaluate(params, data)["validation_accuracy"])


lion = optimizers.TABLE["lion"]
print(f"lion: {lion.paper}; {dict(lion.defaults)}")
slower = dataclasses.replace(wsd, peak=0.002)  # its steps are of size one, so it wants lower rates
runs = {
    "optax.adamw(wsd)": train(optax.adamw(wsd), seed=1),
    'TABLE["lion"].build(slower)': train(lion.build(slower, **lion.defaults), seed=1),
}
figure, axes = panels(1, 1, width=6.0)
for (name, (losses, accuracy)), colour in zip(runs.items(), COLOURS, strict=False):
    axes[0, 0].plot(losses, color=colour, linewidth=0.9, label=f"{name}: validation accuracy {accuracy:.3f}")
axes[0, 0].set(xlabel="step (optimizer updates)", ylabel="batch loss (nats)", yscale="log")
axes[0, 0].legend(title="one seed", title_fontsize=7, fontsize=8)
figure

# %% [markdown]
# One seed and one rate say little about which of the two is better. For that, sweep.

# %% [markdown]
# ## A sweep is many runs in one program
#
# Runs that differ in numbers alone (rates, seeds, decay fractions, weight decay) are *lanes* of one compiled program.
# `lanes.run` trains them in memory: below are seven peaks and three seeds, twenty-one runs, compiled once.

# %%
from lrstudy.study.figures.rates import loss_against_rate
from lrstudy.training import lanes
from lrstudy.training.program import Hyperparameters

PEAKS, SEEDS = np.geomspace(1e-3, 1, 7), (1, 2, 3)
hparams = [
    Hyperparameters(
        schedule=WSD(float(peak), total_steps=STEPS, warmup_steps=20, decay_fraction=0.2, shape="linear"),
        task=task,
        optimizer={"weight_decay": 1e-4},
        clip_norm=None,
        seed=seed,
        steps=STEPS,
    )
    for peak in PEAKS
    for seed in SEEDS
]
_, rows, finals = lanes.run(
    hparams, lambda h: optax.adamw(h.schedule, weight_decay=h.optimizer["weight_decay"]), record_every=10
)
losses = pd.DataFrame(finals).sort_values("lane")["validation_loss"].to_numpy().reshape(len(PEAKS), len(SEEDS))
table = pd.DataFrame(losses, index=PEAKS, columns=SEEDS)
loss_against_rate({"AdamW, WSD": table}, "final validation loss (nats)")

# %% [markdown]
# Look at three things: how wide the flat bottom is (that is how carefully this rate must be tuned), how wide the band
# of seeds is beside the differences that you would like to interpret, and where the dotted optimum is. It is fitted
# through the three points around the best one, in the logarithm of the rate.
#
# ## A study is a sweep in a folder
#
# The same as a study: every leaf of the configuration is a flag, every leaf can be swept, and what happened is a record
# in a folder. `run_study` takes the flags that `python -m experiments.sweep` takes and goes the same way. A stopped
# study goes on where it was; a finished one is not trained again. Here two optimizers, which are two programs, with a
# grid of five rates and three seeds; it is, on purpose, too low for one of them.

# %%
from experiments.sweep import EXPERIMENT
from lrstudy.study.call import run_study
from lrstudy.study.views import summary, sweep_figure

folder = tempfile.TemporaryDirectory()
flags = (
    "--config.task=digits",
    "--config.schedule=WSD",
    "--config.steps=100",
    "--sweep.optimizer=adamw,momentum",
    "--sweep.schedule.peak=0.001,0.003,0.01,0.03,0.1",
    "--sweep.seed=1,2,3",
)
study = run_study(EXPERIMENT, *flags, workdir=folder.name, quiet=True)
sweep_figure(study.records)

# %% [markdown]
# The title warns of a series whose best rate is on the edge of the grid: its optimum has not been seen, so the two
# optimizers cannot be compared yet. The table says so too; `standard error` is over seeds.

# %%
summary(study.records).round(4)

# %% [markdown]
# The remedy is a longer grid: the same call with `0.3,1` added trains the new rates alone, for the others are there. A
# rate at which a run diverged has a cross at the top of the figure; that is a result and a row of the table, not an
# error, and leaves the runs beside it what they were.
#
# The folder holds it all, a `report.html` with figures and tables included:

# %%
for path in sorted(Path(folder.name).iterdir()):
    print(path.name + ("/" if path.is_dir() else ""))
folder.cleanup()

# %% [markdown]
# ## Where to go next
#
# The study above, with the longer grid, from a command line:
#
# ```sh
# python -m experiments.sweep --workdir=runs/mine --config.task=digits --config.schedule=WSD --config.steps=100 \
#     --sweep.optimizer=adamw,momentum --sweep.schedule.peak=0.001,0.003,0.01,0.03,0.1,0.3,1 --sweep.seed=1,2,3
# ```
#
# with a text file of your own and a transformer in place of the digits, and without training anything yet:
#
# ```sh
# python -m experiments.sweep --workdir=runs/mine --config.task=text --config.task.path=my.txt \
#     --sweep.schedule.peak=1e-4:1e-1:8:log --sweep.seed=0,1,2 --dry_run
# python -m experiments.sweep --helpfull
# ```
#
# * [river_valley](river_valley.ipynb): why does a warmup-stable-decay schedule work?
# * [learning_rate_transfer](learning_rate_transfer.ipynb): does the best rate of a narrow model serve a wide one?
# * [sharpness](sharpness.ipynb): what stops a learning rate from being larger?
# * [your_own](your_own.ipynb): your own schedule and optimizer, tested and compared.
