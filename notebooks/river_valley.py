# %% [markdown]
# # The river valley
#
# Why does a *warmup-stable-decay* schedule work? For most of training its loss is no better, or worse, than that of a
# schedule that falls all along; then the rate is brought down, and within a tenth of the updates the loss is below that
# of all others. Wen et al. (2024, [arXiv 2410.05192](https://arxiv.org/abs/2410.05192)) have a picture for it: the loss
# is a **river valley**. Steep hills to both sides, and a river at the bottom that falls slowly. A large rate travels
# far down the river, but bounces between the hills, which hides how far it has come. A decay lets the run settle onto
# the river, and *reveals* the progress.
#
# Below, that picture is a landscape in which everything can be computed; then the same is looked for in a transformer
# that learns text. The runs, the figures and the claims are those of `experiments/river_valley.py`, made small.

# %%
import dataclasses
import tempfile

import numpy as np
import pandas as pd

from experiments import river_valley
from experiments.river_valley_claims import decay_start, river_series
from lrstudy.study.call import run_study
from lrstudy.tasks import CurvedRiver

folder = tempfile.TemporaryDirectory()
pd.set_option("display.max_colwidth", None)

# %% [markdown]
# ## The landscape
#
# $L(x, y) = \frac{c}{2}(y - \sin x)^2 - g x$: a winding river $y = \sin x$ that falls by $g$ a unit of $x$, between
# hills of sharpness $c$. Gradients are noisy across the river alone, so that the noise is what makes a run bounce.

# %%
landscape = CurvedRiver()
print(f"sharpness of the hills c = {landscape.curvature:g}, slope of the river g = {landscape.slope:g}")
print(f"the largest stable rate of gradient descent is 2 / c = {2 / landscape.curvature:g}")

# %% [markdown]
# On a quadratic hill, descent with rate $\eta$ and gradient noise of variance $s$ ends in a stationary loss of $\eta s
# / (2 (2 - \eta c))$: proportional to the rate as long as that is small. How fast the river is travelled is
# proportional to the rate too. So there is a trade: a high rate is fast and high up, a low rate is slow and low down. A
# schedule may have both, one after the other.
#
# Four schedules, 4000 updates, 1024 independent chains a run, three seeds:

# %%
scale = river_valley.Scale(
    seeds=(1, 2, 3), chains=1024, toy_steps=4_000, text_steps=400, peaks=(0.006,), budget_peak=0.006,
    width=32, layers=1, heads=2, context=32, batch_size=8,
)  # fmt: skip
small = dataclasses.replace(river_valley.EXPERIMENT, presets={"cpu": lambda: river_valley.parts(scale)})
river = run_study(small.only("river"), workdir=folder.name, quiet=True)
figures = {figure.name: figure for figure in small.figures}
figures["landscape"].draw(river.records)

# %% [markdown]
# *Lines: one chain of each schedule. Diamonds: where the mean over all chains and seeds ends.* A single chain diffuses
# farther than it drifts; only the mean says how far a schedule has come. Compare the diamond of the low constant rate
# with those of the high one and of WSD.

# %%
figures["river"].draw(river.records)

# %% [markdown]
# What to look at: the high constant rate looks like the worst choice from the first update to the last. WSD *is* that
# choice until its decay begins, and then falls below all others. Little of the way down the river is made in the decay,
# most of it was made before; the numbers say how much:

# %%
series = river_series(river.records)
start = decay_start(series["WSD"])
for name, records in series.items():
    hill, position = records.final("hill_loss"), records.final("river_position")
    print(f"{name:>15}: end at x = {position.mean():.3f} +- {position.std():.3f}, hill loss {hill.mean():.2e}")
before = series["WSD"].at_step("river_position", start)
print(f"WSD had x = {before.mean():.3f} when its decay began (+-: standard deviation over seeds)")

# %% [markdown]
# The paper's claims about it, as numbers, with thresholds that the study fixed before it was run. A question mark would
# say that the 95% interval over seeds reaches across the threshold, so that other seeds might decide otherwise.

# %%
river.claims_table().round(4)

# %% [markdown]
# ## Does a transformer see a river?
#
# A transformer of one layer and width 32 on bytes of text, 400 updates, three schedules with one peak, three seeds:
# small enough for a notebook, and far too small to be a good model. The question is about schedules.

# %%
flags = ("--config.text.task.validation_windows=128",)
text = run_study(small.only("text"), *flags, workdir=folder.name, quiet=True)
figures["text"].draw(text.records)

# %% [markdown]
# The validation losses of the three are close until the decay of WSD begins. Then, the updates of the decay:

# %%
part = text.records.part("text")
wsd, constant = part.where(schedule="WSD"), part.where(schedule="Constant")
begin = decay_start(wsd)
drop = wsd.at_step("validation_loss", begin) - wsd.final("validation_loss")
same = constant.at_step("validation_loss", begin) - constant.final("validation_loss")
print(f"the last {int(wsd.runs['steps'].iloc[0]) - begin} updates gain, in nats a byte (mean +- standard deviation):")
print(f"  with a decay    {drop.mean():.3f} +- {drop.std():.3f}")
print(f"  without         {same.mean():.3f} +- {same.std():.3f}")
gain = (drop - same).to_numpy()
error = gain.std(ddof=1) / np.sqrt(len(gain))
print(f"difference, seed by seed: {gain.mean():.3f}, standard error {error:.3f}, {len(gain)} seeds")

# %% [markdown]
# If the picture is right, then the straight line from the checkpoint before the decay to the one after it leads down
# from a hill to the river: the loss along it is a valley's cross-section, whose bottom is near the end.

# %%
figures["text_line"].draw(text.records)

# %% [markdown]
# And the claims that this part decides. The fourth is about the drop at several peaks; here there is one, so it cannot
# be measured, and what cannot be measured does not hold. The third says that a cosine ends below a constant rate:
# compare it with the next paragraph.

# %%
text.claims_table().round(4)

# %% [markdown]
# Be careful with this table: one peak, which favours schedules that keep it longest, and a run so short that every
# update counts. A cosine wants a higher peak than a WSD. The study tunes the peak of each schedule before it compares
# them, and has runs long enough for the comparison to mean something; what it found, claims that failed included, is in
# [docs/results.md](../docs/results.md).

# %%
folder.cleanup()

# %% [markdown]
# ## Where to go next
#
# The whole study, minutes on two cores, with bigrams, several budgets from one run, and closed forms:
#
# ```sh
# python -m experiments.river_valley --workdir=runs/river_valley
# ```
#
# with your own text, and a decay of another shape:
#
# ```sh
# python -m experiments.river_valley --workdir=runs/mine --config.text.task.path=my.txt
# python -m experiments.sweep --workdir=runs/decays --config.task=text --config.schedule=WSD \
#     --sweep.schedule.shape=linear,1-sqrt,cosine --sweep.schedule.decay_fraction=0.1,0.2,0.4 --sweep.seed=1,2,3
# ```
#
# A WSD run may be continued: a later budget starts from the checkpoint before the decay, and costs its own steps alone
# ([docs/running.md](../docs/running.md)). [sharpness](sharpness.ipynb) looks at the hills themselves.
