"""What must hold on a GPU as it does on a CPU; ``LRSTUDY_GPU_TESTS=1`` runs it on what there is."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.curvature import Status, hessian, top_eigs
from lrstudy.models import Transformer
from lrstudy.schedules import Constant
from lrstudy.tasks import Text
from lrstudy.training import checkpoint, init_state, lanes, make_train_step
from lrstudy.training.program import to_host
from tests.schedules.cases import ALL, SINGLE, boundaries, highest
from tests.schedules.reference import expected_rates
from tests.training.problems import hparams_and_transform, run_of

pytestmark = pytest.mark.gpu

ON_GPU = pytest.mark.skipif("jax.default_backend() != 'gpu'", reason="cuDNN is a GPU's")
MODEL = Transformer(vocabulary=256, context=32, width=64, layers=2, heads=2)


@pytest.fixture(autouse=True)
def full_precision():
    """A GPU's matrix products keep ten bits otherwise."""
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module")
def cpu():
    """The CPU, or a skip where JAX was told to see the GPU alone."""
    try:
        return jax.devices("cpu")[0]
    except RuntimeError:
        pytest.skip("JAX_PLATFORMS must name cpu too")


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(jax.device_get(tree))]


def assert_near(found, expected, rtol):
    """Equal up to rounding, relative to the largest entry of a tensor."""
    for a, b in zip(leaves(found), leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.abs(b).max())


def test_schedules_are_those_of_the_formulas():
    steps = {name: np.asarray(boundaries(schedule), np.int32) for name, schedule in ALL.items()}
    found = jax.device_get(jax.jit(lambda s: {name: s[name](steps[name]) for name in s})(ALL))
    for name, schedule in ALL.items():
        # 2e-7 as on a CPU, and the four last places of 6e-8 that CUDA's powf may be off by.
        wanted = expected_rates(schedule, steps[name])
        np.testing.assert_allclose(found[name], wanted, rtol=0, atol=5e-7 * highest(schedule), err_msg=name)
    for name, schedule in SINGLE.items():
        peak = found[name][list(steps[name]).index(schedule.warmup_steps)]
        assert peak == np.float32(schedule.peak), name


def test_vmap_and_map_give_the_same_numbers():
    runs = [run_of("digits", seed=seed, optimizer="sgd", clip_norm=1.0) for seed in range(4)]
    hparams, make_transform = hparams_and_transform(runs)
    found = {name: lanes.run(hparams, make_transform, executor=name, record_every=5) for name in ("map", "vmap")}
    (mapped, mapped_rows, _), (batched, batched_rows, _) = found["map"], found["vmap"]
    # 20 updates, each of which hands on sums of some hundred terms that were added in another order: 8 roundings of
    # 6e-8 an update.
    assert_near(to_host(batched).state.params, to_host(mapped).state.params, 1e-5)
    np.testing.assert_allclose(batched_rows["loss"], mapped_rows["loss"], rtol=1e-5)


def one_step(device, params, batch):
    """Parameters and metrics after one update of SGD, made on a device."""
    task, optimizer = dataclasses.replace(text(), model=MODEL), run_of("digits", optimizer="sgd")
    make_transform = functools.partial(hparams_and_transform([optimizer])[1])
    hparams = optimizer.hyperparameters._replace(schedule=Constant(0.1))
    params, batch = jax.device_put((params, batch), device)
    state = jax.device_put(init_state(params, make_transform(hparams), jax.random.key(0)), device)
    state, metrics = jax.jit(make_train_step(task.loss, make_transform))(state, batch, hparams)
    return state.params, metrics


def text():
    return Text(path="topics", context=32, batch_size=8, validation_windows=1)


def test_an_update_is_that_of_the_cpu(cpu):
    with jax.default_device(cpu):
        params = jax.device_get(MODEL.init(jax.random.key(0), jnp.zeros((1, 32), jnp.int32))["params"])
    batch = np.random.default_rng(0).integers(0, 256, (8, 33)).astype(np.uint8)
    params_here, here = one_step(jax.devices()[0], params, batch)
    params_there, there = one_step(cpu, params, batch)
    # Gradients are sums over 256 positions and up to 256 hidden units, a few products deep: sqrt(256) roundings of 6e-8
    # in each of some five layers of sums, relative to the largest entry.
    assert_near(params_here, params_there, 5e-6)
    # A norm adds up to 16,384 numbers of one sign, on a CPU in eight sums: each is off by some sqrt(2048) roundings.
    for name, value in there.items():
        assert float(here[name]) == pytest.approx(float(value), rel=2e-5), name


def test_a_checkpoint_comes_back_bit_for_bit_and_to_the_device(tmp_path):
    keys = jax.random.split(jax.random.key(0), 3)
    tree = {
        "float32": jax.random.normal(keys[0], (33, 7)),
        "bfloat16": jax.random.normal(keys[1], (129,), jnp.bfloat16),
        "key": keys,
        "count": jnp.int32(7),
    }
    checkpoint.save(tmp_path, 5, tree, {})
    restored = checkpoint.restore(tmp_path, jax.eval_shape(lambda: tree)).tree
    for name in ("float32", "bfloat16", "count"):
        np.testing.assert_array_equal(np.asarray(restored[name]), np.asarray(tree[name]), err_msg=name)
        assert restored[name].devices() == {jax.devices()[0]}
    np.testing.assert_array_equal(jax.random.key_data(restored["key"]), jax.random.key_data(tree["key"]))


def bowl(params, curvatures):
    return 0.5 * jnp.sum(curvatures * params**2)


def test_the_sharpness_of_a_bowl_is_its_largest_curvature():
    curvatures = jnp.concatenate([jnp.linspace(0.0, 1.0, 999), jnp.asarray([2.5])])
    found = top_eigs(hessian(bowl, jnp.ones(1000), curvatures), jax.random.key(0))
    assert int(found.status) == Status.CONVERGED
    # A residual of 1e-3 at a gap of 1.5 leaves (1e-3 * 2.5)^2 / 1.5.
    assert float(found.values[0]) == pytest.approx(2.5, rel=2e-6)
    assert abs(float(found.vectors[0, -1])) == pytest.approx(1, abs=1e-5)


@ON_GPU
def test_cudnn_attention_is_that_of_xla():
    """With its gradient, in bfloat16, grouped keys included."""
    models = {
        k: dataclasses.replace(MODEL, parent=None, dtype="bfloat16", attention_kernel=k) for k in ("xla", "cudnn")
    }
    tokens = np.random.default_rng(0).integers(0, 256, (4, 32)).astype(np.int32)
    params = jax.jit(MODEL.init)(jax.random.key(0), tokens)["params"]

    @functools.partial(jax.jit, static_argnums=0)
    def found(model, params):
        value = lambda own: jnp.mean(jnp.square(model.apply({"params": own}, tokens)))  # noqa: E731
        return model.apply({"params": params}, tokens), jax.grad(value)(params)

    (here, gradient), (there, expected) = found(models["cudnn"], params), found(models["xla"], params)
    # Each rounds its own steps, by 2^-9; some dozen in series forward, and as many again backward.
    assert_near(here, there, 24 * 2**-9)
    assert_near(gradient, expected, 48 * 2**-9)
