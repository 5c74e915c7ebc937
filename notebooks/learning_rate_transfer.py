# %% [markdown]
# # Learning rates that carry over to other widths
#
# The best learning rate of a small model is cheap to find, that of a large one is not. In the usual (*standard*)
# parametrization, SP, it falls as the model widens, so it must be found again for every width. Under the
# *maximal-update parametrization*, muP (Yang et al. 2022, [arXiv 2203.03466](https://arxiv.org/abs/2203.03466)), every
# tensor has a rate and an initial size of its own, chosen so that activations *and what training changes of them* keep
# their size at every width. Then the best rate stays where it is: tune the narrow model, train the wide one.
#
# Below: what muP changes, a check with numbers of whether a model is scaled right, and the sweep that shows the
# transfer.

# %%
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd

from experiments.sweep import EXPERIMENT
from lrstudy.models import MLP
from lrstudy.parametrization import TABLE, coordinate_check, learning_rate_at_threshold, rules
from lrstudy.study.call import run_study
from lrstudy.study.figures.rates import optimum_of
from lrstudy.study.figures.style import COLOURS, panels
from lrstudy.study.views import losses_by, sweep_figure
from lrstudy.tasks import Digits

BASE, WIDTHS = 64, (64, 128, 256)

# %% [markdown]
# ## What it changes
#
# What a tensor is, an input, a hidden or an output weight, and how much its sides have grown, is read off the shapes of
# a base and a target model. The factors on its initial size, in the forward pass, and on its rate (and on epsilon and
# decay) follow from that. For Adam, at four times the base width, SP beside muP:


# %%
def shapes(module):
    return jax.eval_shape(module.init, jax.random.key(0), jnp.zeros((1, 64)))["params"]


wide = MLP(outputs=10, width=4 * BASE, layers=2)
rows = {}
for name in ("sp", "mup"):
    scaled = TABLE[name](base_width=BASE).scale(wide, shapes)
    for path, spec in scaled.specs.items():
        rule = rules(spec, parametrization=name, optimizer="adam")
        rows[path, name] = {"init x": rule.init, "forward x": rule.mult, "rate x": rule.lr}
pd.DataFrame(rows).T.rename_axis(["tensor", "parametrization"]).sort_index()

# %% [markdown]
# Under SP all is one: nothing is scaled but the initial values, by flax itself. Under muP a hidden weight of a model
# four times as wide has a quarter of the rate, and the readout is divided by four in the forward pass. At the base
# width every factor is 1, so that a model that was tuned in the usual way *is* the base model.
#
# In a training loop of your own, that is two lines: a model that initialises and applies as before, and a transform.

# %%
mup = TABLE["mup"](base_width=BASE)
scaled = mup.scale(wide, shapes)
params = scaled.model.init(jax.random.key(0), jnp.zeros((1, 64)))["params"]
optimizer = mup.transform("adam", scaled, 0.03)  # the rate that was tuned at width 64
print(sum(x.size for x in jax.tree.leaves(params)), "parameters;", type(optimizer).__name__)

# %% [markdown]
# ## Is it scaled right? The coordinate check
#
# A mistake in one factor does not crash; it shows as a rate that does not transfer, weeks later. The coordinate check
# finds it in seconds: train for a few updates at several widths, and fit how the size of every activation, and of its
# *change* since the start, grows with the width. In muP no exponent should be far from zero; in SP some are.

# %%
data = Digits(standardised=True, batch_size=64)
batch = data.batch(data.load(), jnp.int32(1), jnp.int32(0))


def make_model(width):
    module = MLP(outputs=10, width=width, layers=2)

    def loss(params, batch):
        logits = module.apply({"params": params}, batch[0])
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

    return module, batch, loss


checks = {
    name: coordinate_check(
        make_model, WIDTHS, base_width=BASE, parametrization=name, optimizer="adam", learning_rate=0.01, seeds=(1, 2, 3)
    )
    for name in ("sp", "mup")
}
figure, axes = panels(1, 2, width=8.0, height=2.8)
for axis, (name, check) in zip(axes[0], checks.items(), strict=True):
    slopes = {series: values[-1] for series, values in check.slopes.items()}
    places = np.arange(len(slopes))
    axis.barh(places, list(slopes.values()), color=[COLOURS["h0" in series] for series in slopes])
    axis.set_yticks(places, list(slopes), fontsize=7)
    axis.axvspan(-0.15, 0.15, color="black", alpha=0.08, zorder=0)
    axis.set(xlabel="exponent of the width after 3 updates", xlim=(-1, 1.6))
    axis.set_title(
        f"{name}: {'passes' if check.passed else f'{len(check.failing)} series fail'}", fontsize=9, loc="left"
    )
figure

# %% [markdown]
# *Blue: sizes; orange: changes since the start, mean over three seeds; shaded: what passes.* The check needs a few
# updates where a sweep needs many runs, and it works for any linen module of your own.
#
# ## The sweep
#
# Digits, a perceptron with two hidden layers, Adam, 40 updates, eight rates an octave apart, three widths, two
# parametrizations, three seeds. Widths and parametrizations are programs, rates and seeds are lanes of these.

# %%
folder = tempfile.TemporaryDirectory()
RATES = [2.0**k for k in range(-10, -2)]
flags = (
    "--config.task=digits",
    "--config.task.standardised=true",
    "--config.model=mlp",
    "--config.optimizer=adam",
    "--config.optimizer.b2=0.99",
    "--config.clip_norm=none",
    "--config.schedule=Linear",
    "--config.schedule.warmup_steps=10",
    "--config.steps=40",
    "--config.evaluate_every=0",
    f"--config.parametrization.base_width={BASE}",
    "--sweep.parametrization=sp,mup",
    f"--sweep.model.width={','.join(map(str, WIDTHS))}",
    f"--sweep.schedule.peak={','.join(map(str, RATES))}",
    "--sweep.seed=1,2,3",
)
records = run_study(EXPERIMENT, *flags, workdir=folder.name, quiet=True).records.asked()
sweep_figure(records.where(parametrization="sp"))

# %% [markdown]
# SP: the wider the model, the farther left its curve begins to fall, and what was a good rate for width 64 is less so
# for width 256. And muP:

# %%
sweep_figure(records.where(parametrization="mup"))

# %% [markdown]
# Here look at the left flank, where the loss is steep: the three curves lie on each other. On the right the wide models
# bear even larger rates.
#
# The dotted optima are less steady than the curves: near its bottom a curve is flat, and noise decides where the lowest
# point is. So it is better to follow a second number that does not depend on the bottom: the lowest rate at which the
# loss falls to a given level, here 0.4 nats.

# %%
found = []
for name in ("sp", "mup"):
    for width in WIDTHS:
        losses = losses_by(records.where(parametrization=name, model__width=width), "schedule.peak", "validation_loss")
        means = losses.mean(axis=1)
        crossing = learning_rate_at_threshold(means.index.to_list(), means.to_list(), 0.4)
        row = {"parametrization": name, "width": width, "optimum": optimum_of(losses).value}
        found.append(row | {"lowest loss": means.min(), "rate at 0.4 nats": float(crossing)})
table = pd.DataFrame(found).set_index(["parametrization", "width"])
table.round(4)

# %%
figure, axes = panels(1, 2, width=8.0, height=2.6)
for axis, column in zip(axes[0], ("rate at 0.4 nats", "optimum"), strict=True):
    for (name, own), colour in zip(table.groupby(level=0, sort=False), COLOURS, strict=False):
        rates = own[column].to_numpy()
        slope = np.polyfit(np.log2(WIDTHS), np.log2(rates), 1)[0]
        axis.plot(WIDTHS, rates, "o-", color=colour, label=f"{name}: {slope:+.2f} octaves a doubling")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.set(xlabel="width", ylabel=column if column != "optimum" else "best rate")
    axis.set_xticks(WIDTHS, [str(width) for width in WIDTHS])
    axis.legend(title="mean over 3 seeds", title_fontsize=7, fontsize=7)
figure

# %% [markdown]
# What it is worth: train the widest model at the rate that was the best of the grid for the narrowest, and compare with
# the best rate of its own.

# %%
for name in ("sp", "mup"):
    narrow, widest = (
        losses_by(records.where(parametrization=name, model__width=width), "schedule.peak", "validation_loss")
        for width in (WIDTHS[0], WIDTHS[-1])
    )
    tuned = narrow.mean(axis=1).idxmin()
    excess = widest.loc[tuned] - widest.loc[widest.mean(axis=1).idxmin()]
    error = excess.std(ddof=1) / np.sqrt(len(excess))
    print(f"{name:>3}: rate {tuned:g} from width {WIDTHS[0]} costs {excess.mean():.3f} +- {error:.3f} nats at width "
          f"{WIDTHS[-1]} (mean and standard error over {len(excess)} seeds)")  # fmt: skip
folder.cleanup()

# %% [markdown]
# A cost of exactly zero says that both widths have the same best rate on this grid. Three widths and three seeds are a
# demonstration, not a proof; differences of optima below an octave mean little here. The study has wider models, a
# transformer, weight decay, depth, Lion and Muon, with claims and intervals, those that failed included:
# [docs/results.md](../docs/results.md).
#
# ## Where to go next
#
# ```sh
# python -m experiments.mup_transfer --workdir=runs/mup_transfer
# python -m experiments.sweep --workdir=runs/mine --config.task=text --config.optimizer=adamw \
#     --config.parametrization=mup --config.parametrization.base_width=64 --sweep.model.width=64,128,256 \
#     --sweep.schedule.peak=1e-4:1e-1:8:log --sweep.seed=1,2,3
# ```
#
# Other parametrizations are `ntk`, `mean_field`, `sp_per_layer` and `ntk_per_layer`.
#
# * `experiments.sharpness_transfer`: is it the sharpness that stays the same along training?
# * [sharpness](sharpness.ipynb): what it is, and how a rate decides it.
