# %% [markdown]
# # Sharpness: what stops a learning rate from being larger?
#
# The *sharpness* of a loss is the largest eigenvalue of its Hessian. On a quadratic, gradient descent with rate $\eta$
# is stable as long as the sharpness is below $2/\eta$. A network is no quadratic, and something surprising happens
# (Cohen et al. 2021, [arXiv 2103.00065](https://arxiv.org/abs/2103.00065)): training *sharpens* the loss until the
# sharpness has reached $2/\eta$, and then stays there, at the **edge of stability**, while the loss goes on falling.
#
# So the rate does not only decide how fast one goes, but where. This notebook measures it: first at a point, then along
# a run, then for several rates at once, and then under warmups and decays.

# %%
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd

from experiments.sweep import EXPERIMENT
from lrstudy.curvature import SharpnessTracker, Status, hessian, thresholds, top_eigs
from lrstudy.study.call import run_study
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.tasks import TanhRegression

# %% [markdown]
# ## At a point
#
# Nothing is ever formed: a Hessian is an operator, known by its products with vectors, each of which costs about two
# gradients. Lanczos' method finds the extreme eigenvalues from a few of them. Here the network is so small that its
# Hessian *can* be formed, so the two can be compared.

# %%
small = TanhRegression(width=8, samples=64)


def loss_of(task: TanhRegression):
    return lambda params, batch: task.loss(params, batch)[0]


params = small.init(jax.random.key(1))
batch = small.batch(small.load(), jnp.int32(1), jnp.int32(0))
found = top_eigs(hessian(loss_of(small), params, batch), jax.random.key(0), k=3)

flat, unflatten = jax.flatten_util.ravel_pytree(params)
dense = jax.hessian(lambda flat: loss_of(small)(unflatten(flat), batch))(flat)
exact = np.linalg.eigvalsh(np.asarray(dense, np.float64))[::-1][:3]
print(f"{flat.size} parameters, {int(found.matvecs)} products, status {Status(int(found.status)).name}")
pd.DataFrame({"Lanczos": found.values, "residual": found.residuals, "of the matrix": exact}, index=[1, 2, 3])

# %% [markdown]
# A residual $|Av - \lambda v|$ is a guarantee: some eigenvalue lies no farther from the value than that. A number
# without its residual, or without the number of products that it took, would be hard to trust.
#
# ## Along a run
#
# The Hessian changes slowly, so a `SharpnessTracker` starts every solve from the last eigenvector. A plain loop of
# gradient descent on the whole sample, measured every tenth update:

# %%
GAMMA = 8.0  # the network's output is divided by it, so rates are large numbers
task = TanhRegression(gamma=GAMMA, width=32, samples=128)
RATE, STEPS, EVERY = 64.0, 300, 10
loss = loss_of(task)
params = task.init(jax.random.key(1))
batch = task.batch(task.load(), jnp.int32(1), jnp.int32(0))
transform = optax.sgd(RATE)
state, tracker = transform.init(params), SharpnessTracker()
tracked = tracker.init(params, jax.random.key(2))


@jax.jit
def update(params, state):
    value, grads = jax.value_and_grad(loss)(params, batch)
    updates, state = transform.update(grads, state, params)
    return optax.apply_updates(params, updates), state, value


rows = []
for step in range(STEPS + 1):
    if step % EVERY == 0:
        tracked, measured = tracker.update(tracked, hessian(loss, params, batch))
        rows.append({"step": step, "sharpness": float(measured.values[0]), "products": int(measured.matvecs)})
    params, state, value = update(params, state)
    if step % EVERY == 0:
        rows[-1]["loss"] = float(value)
run = pd.DataFrame(rows).set_index("step")
edge = float(thresholds("gd", RATE))
print(f"edge 2 / rate = {edge:.4g}; sharpness before training {run['sharpness'].iloc[0] / edge:.2f} of it, "
      f"mean of the last ten {run['sharpness'].iloc[-10:].mean() / edge:.2f}")  # fmt: skip
print(f"products a measurement: {run['products'].mean():.1f} on average, {run['products'].iloc[0]} for the first")

figure, axes = panels(1, 2, width=8.0)
axes[0, 0].plot(run["loss"], color=COLOURS[0])
axes[0, 0].set(xlabel="update", ylabel="training loss", yscale="log")
axes[0, 1].plot(run["sharpness"], color=COLOURS[1], label="sharpness, one seed")
axes[0, 1].axhline(edge, color="black", linewidth=0.8, linestyle="--", label="2 / rate")
axes[0, 1].set(xlabel="update", ylabel="sharpness", ylim=(0, None))
axes[0, 1].legend()
figure

# %% [markdown]
# The loss does not fall steadily: at the edge, steps along the sharpest direction overshoot, the loss rises, and the
# overshoot itself brings the sharpness down again. A textbook would have it that descent converges only below the
# dashed line. It is crossed, and nothing breaks.
#
# ## Several rates at once
#
# If the edge decides, then the sharpness must end at $2/\eta$ for *every* rate. As a study: three rates and two seeds
# are lanes of one program; `--config.sharpness.every` measures them, by the same tracker. `thresholds` knows the edge
# of other optimizers too, momentum's and Adam's.

# %%
folder = tempfile.TemporaryDirectory()
network = (
    "--config.task=tanh_regression",
    f"--config.task.gamma={GAMMA}",
    "--config.task.width=32",
    "--config.optimizer=sgd",
    "--config.clip_norm=none",
    "--config.evaluate_every=0",
)
flags = (
    "--config.schedule=Constant",
    "--config.task.samples=128",
    "--config.steps=400",
    "--config.sharpness.every=10",
    "--sweep.schedule.peak=32,64,128",
    "--sweep.seed=1,2",
)
rates = run_study(EXPERIMENT, *network, *flags, workdir=folder.name, quiet=True).records.asked()
figure, axes = panels(1, 2, width=8.0, height=2.8)
for rate, colour in zip((32.0, 64.0, 128.0), COLOURS, strict=False):
    own = rates.where(schedule__peak=rate)
    sharpness, losses = own.curves("sharpness"), own.curves("loss")
    band(axes[0, 0], losses.index.to_numpy(), losses.to_numpy(), f"rate {rate:g}", colour)
    band(axes[0, 1], sharpness.index.to_numpy(), rate * sharpness.to_numpy(), f"rate {rate:g}", colour)
axes[0, 0].set(xlabel="update", ylabel="training loss", yscale="log")
axes[0, 1].axhline(2, color="black", linewidth=0.8, linestyle="--")
axes[0, 1].set(xlabel="update", ylabel="rate x sharpness", ylim=(0, 5))
axes[0, 0].legend(title=bands(2), title_fontsize=7, fontsize=8)
figure

# %% [markdown]
# *Right, dashed: the edge.* The three runs have sharpnesses that differ by a factor of four, and their products with
# the rate agree. In numbers, over the last quarter of the updates:

# %%
late = {
    rate: rate * rates.where(schedule__peak=rate).curves("sharpness").loc[300:].mean().to_numpy()
    for rate in (32.0, 64.0, 128.0)
}
pd.DataFrame(late, index=pd.Index([1, 2], name="seed")).rename_axis(columns="rate x sharpness, by rate").round(3)

# %% [markdown]
# ## A rate that moves
#
# If the sharpness follows $2/\eta$, then a schedule steers it: a warmup, which brings $2/\eta$ down, presses it down,
# and a decay lets it go up again. A WSD schedule on a sample that takes longer to learn:

# %%
flags = (
    "--config.schedule=WSD",
    "--config.schedule.peak=128",
    "--config.schedule.warmup_steps=60",
    "--config.schedule.decay_fraction=0.5",
    "--config.schedule.shape=linear",
    "--config.task.samples=512",
    "--config.steps=300",
    "--config.sharpness.every=10",
    "--sweep.seed=1,2,3",
)
moving = run_study(EXPERIMENT, *network, *flags, workdir=folder.name, quiet=True).records.asked()
sharpness, applied = moving.curves("sharpness"), moving.curves("learning_rate").iloc[1:, 0]
figure, axes = panels(2, 1, width=6.5, height=2.0)
axes[0, 0].plot(applied, color=COLOURS[0])
axes[0, 0].set(ylabel="learning rate")
band(axes[1, 0], sharpness.index.to_numpy(), sharpness.to_numpy(), "sharpness", COLOURS[1])
axes[1, 0].plot(2 / applied, color="black", linewidth=0.8, linestyle="--", label="2 / rate")
axes[1, 0].set(xlabel="update", ylabel="sharpness", ylim=(0, 0.06))
axes[1, 0].legend(title=bands(3), title_fontsize=7, fontsize=8)
figure

# %%
peak_end, end = sharpness.loc[150], sharpness.loc[300]
print(f"sharpness where the decay begins {peak_end.mean():.4f}, at the end {end.mean():.4f} "
      f"(mean over {len(end)} seeds); rises in {int((end > peak_end).sum())} of them")  # fmt: skip

# %% [markdown]
# The decay does not only settle the run (see [river_valley](river_valley.ipynb)); where the rate no longer forbids it,
# the run moves on to sharper places. How far it gets depends on how much there is left to learn.
#
# ## What is a warmup for?
#
# One answer (Gilmer et al. 2021, [arXiv 2110.04369](https://arxiv.org/abs/2110.04369)): while the rate rises slowly the
# run is pushed to flatter places, in which the large rate is then stable. Without a warmup it must survive being far
# above the edge from the first update on: it may be thrown to a flatter place at once (a *catapult*, Lewkowycz et al.
# 2020, [arXiv 2003.02218](https://arxiv.org/abs/2003.02218)), or out of the valley altogether. So how many of six runs
# are left after 300 updates?

# %%
flags = (
    "--config.schedule=Constant",
    "--config.task.samples=128",
    "--config.steps=300",
    "--sweep.schedule.peak=400,500,600,700",
    "--sweep.schedule.warmup_steps=0,50,150",
    "--sweep.seed=1,2,3,4,5,6",
)
above = run_study(EXPERIMENT, *network, *flags, workdir=folder.name, quiet=True).records.asked()
learned = above.runs.assign(learned=(above.runs["outcome"] == "ok") & (above.runs["loss"].astype(float) < 0.1))
table = learned.pivot_table(index="schedule.warmup_steps", columns="schedule.peak", values="learned", aggfunc="sum")
table.rename_axis(index="warmup, updates", columns="learned (loss below 0.1) of 6 seeds, by rate")

# %% [markdown]
# Read the table down its columns. Six seeds are few: a difference of one between neighbours means nothing, and where
# the columns agree a warmup changed nothing at that rate.

# %%
folder.cleanup()

# %% [markdown]
# ## Where to go next
#
# The study, with momentum of each kind, Adam's preconditioned sharpness, single examples, spectra, and a transformer on
# text; and the sharpness of anything that you train:
#
# ```sh
# python -m experiments.sharpness --workdir=runs/sharpness
# python -m experiments.sweep --workdir=runs/mine --config.task=text --config.sharpness.every=50
# python -m experiments.sweep --workdir=runs/adam --config.task=text --config.sharpness=preconditioned \
#     --config.sharpness.every=50
# ```
#
# * `experiments.sharpness_transfer`: does the sharpness along training depend on width, depth or parametrization?
# * `experiments.batch_hessian`: how much sharper is a batch's loss than that of all data?
# * [learning_rate_transfer](learning_rate_transfer.ipynb): rates that carry over to other widths.
