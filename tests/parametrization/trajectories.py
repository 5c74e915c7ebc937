"""Training of the digits' perceptron under a parametrization, in float64, from given tensors."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lrstudy.models import MLP
from lrstudy.parametrization import Parametrized, infer_specs, rules_of, transform
from tests.parametrization.mup_problem import BASE_WIDTH, CLASSES, FEATURES, batches

# The name `transform` of the room is the function.
transform_module = importlib.import_module("lrstudy.parametrization.transform")


def specs_of(width, base_width=BASE_WIDTH):
    def shapes(n):
        model = MLP(CLASSES, n)
        return jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, FEATURES)))["params"]

    return infer_specs(shapes(base_width), shapes(width), MLP(CLASSES, width).spec_overrides())


def model_of(width, optimizer, **settings):
    return Parametrized.of(MLP(CLASSES, width), rules_of(optimizer, specs_of(width), **settings))


def cross_entropy(scores, labels):
    return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()


def train(model, update, params):
    """Losses before every update, in nats, and the last parameters; all float64 where the parameters are."""

    def step(carry, batch):
        params, state = carry
        pixels, labels = batch
        loss, grads = jax.value_and_grad(lambda p: cross_entropy(model.apply({"params": p}, pixels), labels))(params)
        updates, state = update.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), loss

    def run(params):
        (params, _), losses = jax.lax.scan(step, (params, update.init(params)), batches())
        return losses, params

    losses, params = jax.jit(run)(params)
    assert losses.dtype == jax.tree.leaves(params)[0].dtype
    return np.asarray(losses), params


def effective_start(width, parametrization):
    """Random tensors as the module sees them, of the sizes that a parametrization asks for; biases are not zero."""
    model = model_of(width, "adam", parametrization=parametrization)
    params = model.effective(model.init(jax.random.key(3), jnp.zeros((1, FEATURES), jnp.float32))["params"])
    rng = np.random.default_rng(3)
    return jax.tree.map(lambda x: np.asarray(x, np.float64) if x.ndim > 1 else 0.1 * rng.normal(size=x.shape), params)


def losses_from(start, width, optimizer, learning_rate, *, parametrization, form="lib", **options):
    """The losses of a run that starts at these effective tensors."""
    with jax.enable_x64(True):
        model = model_of(width, optimizer, parametrization=parametrization, form=form)
        multipliers = model.effective(jax.tree.map(lambda x: jnp.ones((), jnp.float64), start))
        params = jax.tree.map(lambda x, mult: jnp.asarray(x / mult), start, multipliers)
        specs = specs_of(width)
        update = transform(optimizer, specs, learning_rate, parametrization=parametrization, form=form, **options)
        return train(model, update, params)[0]
