"""Training of the network on curves of the prior, which never run out: a batch is a function of the key and the step.

What the network learns by its loss, the negative log density of the rest of a curve, is the prior's posterior
predictive distribution (Müller et al. 2022, arXiv 2112.10510, corollary 1.1).
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key

from lrstudy.laws.extrapolation.bars import equal_mass_borders, log_density
from lrstudy.laws.extrapolation.network import CurveTransformer
from lrstudy.laws.extrapolation.prior import LENGTH, LearningCurvePrior
from lrstudy.schedules import Cosine

_POINTS_OF_A_BAR = 2_000
_GRADIENT_NORM = 1.0
_WARMUP = 0.25


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What a network is and how it is trained.

    Attributes:
        curves: curves of the prior that are seen, each once; rounded up to whole batches.
        batch: curves of an update.
        queries: cut-offs of each curve in an update, uniform in 1, ..., 99; each asks for one later point.
        peak: of the learning rate, after a linear warmup over the first quarter; half a cosine to zero follows.
        bars: of the density.
        width: of the network's tokens.
        layers: of the network.
        heads: of its attention.
        components: of its bars' normal densities.
    """

    curves: int = 60_000
    batch: int = 64
    queries: int = 32
    peak: float = 2e-3
    bars: int = 1000
    width: int = 64
    layers: int = 3
    heads: int = 2
    components: int = 3

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            ValueError: one is below its least, or heads do not divide the width.
        """
        for name, value in dataclasses.asdict(self).items():
            least = {"bars": 3}.get(name, 1)
            if name != "peak" and (isinstance(value, bool) or not isinstance(value, int) or value < least):
                raise ValueError(f"{name} must be an int of at least {least}, got {value!r}")
        if not (isinstance(self.peak, float | int) and 0 < self.peak < math.inf):
            raise ValueError(f"peak must be a finite number above 0, got {self.peak!r}")
        if self.width % self.heads:
            raise ValueError(f"heads must divide width ({self.width}), got {self.heads!r}")

    @property
    def steps(self) -> int:
        """Updates of the training."""
        return math.ceil(self.curves / self.batch)

    def network(self) -> CurveTransformer:
        """The network."""
        return CurveTransformer(self.width, self.layers, self.heads, self.components)

    def logits(self, params: Any, borders: Array, queries: tuple[Array, Array, Array]) -> Array:
        """The network's logits, of its values, cut-offs and times."""
        return jnp.asarray(self.network().apply(params, borders, *queries))

    def optimizer(self) -> optax.GradientTransformation:
        """Adam under a cosine, with gradients no longer than one."""
        rate = Cosine(self.peak, self.steps, warmup_steps=int(_WARMUP * self.steps))
        return optax.chain(optax.clip_by_global_norm(_GRADIENT_NORM), optax.adam(rate))


class Trained(NamedTuple):
    """A training between two updates.

    Attributes:
        step: updates made.
        params: of the network.
        opt_state: of the optimizer.
    """

    step: Int[Array, ""]
    params: Any
    opt_state: Any


def borders_of(key: Key[Array, ""], bars: int) -> Float[np.ndarray, " borders"]:
    """Borders between which the points of the prior's curves are equally many."""
    curves = bars * _POINTS_OF_A_BAR // LENGTH
    return equal_mass_borders(np.asarray(LearningCurvePrior().sample(jax.random.fold_in(key, 0), curves)), bars)


@functools.partial(jax.jit, static_argnums=1)
def begin(key: Key[Array, ""], recipe: Recipe) -> Trained:
    """A training before its first update."""
    values, one = jnp.zeros((1, LENGTH)), jnp.ones((1, 1), jnp.int32)
    params = recipe.network().init(jax.random.fold_in(key, 1), jnp.arange(recipe.bars + 1.0), values, one, one + 1)
    return Trained(jnp.int32(0), params, recipe.optimizer().init(params))


def chunks(
    key: Key[Array, ""], recipe: Recipe, borders: Float[Array, " borders"], state: Trained, *, length: int = 25
) -> "Iterator[tuple[Trained, Float[Array, ' steps']]]":
    """Trains to the end, a compiled call of so many updates at a time.

    Args:
        key: that the training began with.
        recipe: of the training.
        borders: of the bars.
        state: to go on from; its memory is given away, as is that of every state yielded once the next is asked for.
        length: updates of a call; the last may be shorter.

    Yields:
        The state and the loss of every update since the one before: the mean negative log density, in nats a point.
    """
    while (left := recipe.steps - int(state.step)) > 0:
        state, losses = _advance(key, recipe, jnp.asarray(borders), state, length)
        yield state, losses[:left]


def train(
    key: Key[Array, ""], recipe: Recipe, progress: Callable[[int, float], None] | None = None
) -> tuple[Any, Float[np.ndarray, " borders"]]:
    """Trains from the prior, from the beginning to the end.

    Args:
        key: of the borders, the initial parameters and every batch.
        recipe: of the network and its training.
        progress: told the updates made and the mean loss since it was last told.

    Returns:
        the network's parameters and the borders of its bars.
    """
    borders = borders_of(key, recipe.bars)
    state = begin(key, recipe)
    for after, losses in chunks(key, recipe, jnp.asarray(borders), state):
        state = after
        if progress is not None:
            progress(int(state.step), float(losses.mean()))
    return state.params, borders


@functools.partial(jax.jit, static_argnums=(1, 4), donate_argnums=3)
def _advance(key: Array, recipe: Recipe, borders: Array, state: Trained, steps: int) -> tuple[Trained, Array]:
    """So many updates in one scan, or as many as are left: one program serves the last call too."""
    optimizer = recipe.optimizer()

    def loss(params: Any, batch: tuple[Array, Array, Array]) -> Array:
        values, _, times = batch
        logits = recipe.logits(params, borders, batch)
        return -log_density(borders, logits, jnp.take_along_axis(values, times - 1, 1)).mean()

    def update(state: Trained) -> tuple[Trained, Array]:
        batch = draw_batch(jax.random.fold_in(jax.random.fold_in(key, 2), state.step), recipe)
        value, gradients = jax.value_and_grad(loss)(state.params, batch)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        return Trained(state.step + 1, optax.apply_updates(state.params, updates), opt_state), value

    def update_if_left(state: Trained, _: None) -> tuple[Trained, Array]:
        return lax.cond(state.step < recipe.steps, update, lambda state: (state, jnp.nan), state)

    return lax.scan(update_if_left, state, None, steps)


def draw_batch(key: Key[Array, ""], recipe: Recipe) -> tuple[Array, Array, Array]:
    """Curves, cut-offs uniform in 1, ..., 99, and for each a time uniform in what is left."""
    curve_key, cutoff_key, time_key = jax.random.split(key, 3)
    shape = recipe.batch, recipe.queries
    cutoffs = jax.random.randint(cutoff_key, shape, 1, LENGTH)
    times = jax.random.randint(time_key, shape, cutoffs + 1, LENGTH + 1)
    return LearningCurvePrior().sample(curve_key, recipe.batch), cutoffs, times
