"""The division among clients, a round against a plain float64 loop, and what clients do with what they hear."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.feedback import ServerFeedback
from lrstudy.optimizers import fedhyper
from lrstudy.tasks import FederatedDigits
from lrstudy.tasks.clients import NO_FEEDBACK, train_client
from lrstudy.tasks.split import dirichlet_split
from tests.tasks.cases import TASKS, case, to_numpy

LABELS = np.random.default_rng(0).integers(0, 10, 1437)


def shares(alpha, clients=20, seed=0):
    """Share of every class among the examples of every client."""
    members, sizes = dirichlet_split(LABELS, clients, alpha, seed)
    own = [np.bincount(LABELS[row[:size]], minlength=10) for row, size in zip(members, sizes, strict=True)]
    return np.asarray(own) / sizes[:, None]


@pytest.mark.parametrize("alpha", [0.01, 0.5, 1000.0])
@pytest.mark.parametrize("clients", [1, 20, 1437])
def test_every_example_has_one_client_and_every_client_an_example(alpha, clients):
    members, sizes = dirichlet_split(LABELS, clients, alpha, 0)
    held = np.concatenate([row[:size] for row, size in zip(members, sizes, strict=True)])
    assert sorted(held) == list(range(len(LABELS)))
    assert sizes.min() >= 1
    assert members.shape == (clients, sizes.max())


def test_the_division_depends_on_its_seed_alone():
    first, again, other = (dirichlet_split(LABELS, 20, 0.5, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[0].shape != other[0].shape or (first[0] != other[0]).any()


def test_a_small_alpha_makes_unlike_clients():
    """The expected sum of squared Dirichlet shares is (alpha + 1) / (10 alpha + 1) of a client with even classes."""
    concentration = {alpha: np.square(shares(alpha)).sum(1).mean() for alpha in (0.05, 0.5, 1000.0)}
    assert concentration[0.05] > concentration[0.5] > concentration[1000.0]
    # Classes are nearly even: a tenth each, with some seven examples a class and rounding.
    assert concentration[1000.0] == pytest.approx(0.1, abs=0.01)
    assert concentration[0.05] > 0.5


def test_a_round_draws_clients_without_repeating_and_their_own_examples():
    task = FederatedDigits(clients=12, active=5, local_steps=7, batch_size=10)
    data = task.load()
    places = np.zeros((1437, 64), np.float32)
    places[:, 0] = np.arange(1437)
    numbered = {**data, "train_pixels": places, "train_labels": np.arange(1437, dtype=np.int32)}
    owner = np.empty(1437, int)
    for client, (row, size) in enumerate(zip(data["members"], data["sizes"], strict=True)):
        owner[row[:size]] = client
    seen, batch = set(), jax.jit(task.batch)
    for step in range(20):
        pixels, labels, weights = to_numpy(batch(numbered, jnp.int32(1), jnp.int32(step)))
        np.testing.assert_array_equal(pixels[..., 0].astype(int), labels)
        owners = owner[labels].reshape(5, -1)
        assert (owners == owners[:, :1]).all()
        chosen = owners[:, 0]
        assert len(set(chosen)) == 5
        seen |= set(chosen.tolist())
        np.testing.assert_allclose(weights, data["sizes"][chosen] / data["sizes"][chosen].sum(), rtol=2e-7)
        for examples, client in zip(labels.reshape(5, -1), chosen, strict=True):
            size = data["sizes"][client]
            # A pass holds every example once; the next has the same order.
            assert len(set(examples[:size])) == min(size, 70)
            np.testing.assert_array_equal(examples[size:], examples[:-size] if size < 70 else [])
    assert seen == set(range(12))


def linear_loss(params, batch):
    """Half the squared distance to a target, for which everything has a closed form."""
    return 0.5 * jnp.sum(jnp.square(params - batch))


TARGETS = np.random.default_rng(1).normal(size=(6, 3))
CHANGE = np.asarray([0.3, -0.2, 0.5])


def local_reference(start, rate, momentum, active, change=None, cosine=False):
    """SGD with momentum and, if the server's change is given, FedHyper-CL, in float64."""

    def product(a, b):
        raw = a @ b
        return raw / (np.linalg.norm(a) * np.linalg.norm(b)) if cosine else raw

    x, trace, scale, before = np.asarray(start, float), np.zeros(3), 1.0, None
    for target in TARGETS:
        trace = momentum * trace + (x - target)
        used = rate * scale
        step = -used * trace
        x = x + step
        if change is not None:
            if before is not None:
                growth = min(1.1, 1 + 0.1 * product(step, change) / active + product(step, before))
                scale = np.clip(scale * growth, 0.1, 10)
            before = step
    return x - start, used


@pytest.mark.parametrize(("change", "cosine"), [(None, False), (CHANGE, False), (CHANGE, True)])
def test_local_training_is_its_formula(change, cosine):
    feedback = ServerFeedback(jnp.float32(1.5), None if change is None else jnp.float32(change), jnp.bool_(cosine))
    start = np.asarray([1.0, -1.0, 0.5])
    run = functools.partial(train_client, linear_loss, feedback=feedback, learning_rate=0.2, momentum=0.6, active=2)
    moved, losses, rate = jax.jit(run)(jnp.float32(start), jnp.float32(TARGETS))
    expected, used = local_reference(start, 0.2 * 1.5, 0.6, 2, change, cosine)
    # Six steps on numbers of size one, a few roundings of 6e-8 in each.
    np.testing.assert_allclose(moved, expected, rtol=0, atol=3e-6)
    np.testing.assert_allclose(rate, used, rtol=3e-6)
    assert losses.shape == (6,)
    np.testing.assert_allclose(losses[0], 0.5 * np.sum((start - TARGETS[0]) ** 2), rtol=1e-6)
    assert (abs(used - 0.3) > 1e-3) == (change is not None)


def test_a_client_never_leaves_its_bounds():
    """Targets that jump from side to side lower the factor at every step, down to a tenth."""
    targets = jnp.float32([[100.0 * (-1) ** k] * 3 for k in range(40)])
    feedback = ServerFeedback(jnp.float32(1), jnp.ones(3), jnp.bool_(False))
    run = functools.partial(train_client, linear_loss, feedback=feedback, learning_rate=0.1, momentum=0.0, active=1)
    assert float(jax.jit(run)(jnp.zeros(3), targets)[2]) == pytest.approx(0.01)


@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_the_pseudo_gradient_is_the_weighted_mean_of_the_clients(scale):
    c = case("federated_digits")
    batch = c.batch(0, 3)
    state = fedhyper(1.0, kind="SL").init(c.params)
    state = state._replace(feedback=state.feedback._replace(client_scale=jnp.float32(scale)))
    (value, scalars), gradient = jax.jit(c.task.gradient)(c.params, batch, state)
    settings = {"learning_rate": c.task.learning_rate * scale, "momentum": c.task.momentum, "active": c.task.active}
    train = functools.partial(train_client, c.task._cross_entropy, feedback=NO_FEEDBACK, **settings)
    client = jax.jit(lambda batches: train(c.params, batches))
    alone = [client(jax.tree.map(lambda x, i=i: x[i], batch[:2])) for i in range(c.task.active)]
    weights = np.asarray(batch[2], np.float64)
    changes = jax.tree.map(lambda *leaves: np.asarray(leaves, np.float64), *[change for change, *_ in alone])
    for found, own in zip(jax.tree.leaves(gradient), jax.tree.leaves(changes), strict=True):
        expected = -np.einsum("c,c...->...", weights, own)
        # Batched products order their sums differently.
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 + 1e-5 * np.abs(expected).max())
    losses = np.asarray([own for _, own, _ in alone], np.float64)
    np.testing.assert_allclose(value, weights @ losses[:, 0], rtol=1e-5)
    np.testing.assert_allclose(scalars["client_loss"], weights @ losses.mean(1), rtol=1e-5)
    np.testing.assert_allclose(scalars["client_learning_rate"], 0.1 * scale, rtol=1e-6)


def test_one_client_of_one_step_is_sgd():
    """A single client with all examples and one local step without momentum: the pseudo-gradient is rate * gradient."""
    task = FederatedDigits(
        model=TASKS["federated_digits"].model, clients=1, active=1, local_steps=1, batch_size=32, momentum=0.0
    )
    data, params = task.load(), case("federated_digits").params
    batch = jax.jit(task.batch)(data, jnp.int32(0), jnp.int32(0))
    gradient = jax.jit(jax.grad(lambda p: task.loss(p, batch)[0]))(params)
    pseudo = jax.jit(task.gradient)(params, batch, ())[1]
    for a, b in zip(jax.tree.leaves(pseudo), jax.tree.leaves(gradient), strict=True):
        # The change is read back as a difference of weights of size up to four: half a unit there is 2e-7.
        np.testing.assert_allclose(a, 0.1 * b, rtol=0, atol=5e-7)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("clients", 0, r"in \[1, 1437\]"),
        ("active", 51, r"in \[1, 50\]"),
        ("local_steps", 0, r"in \[1, "),
        ("batch_size", 0, r"in \[1, 1437\]"),
        ("split_seed", -1, "an int of at least 0"),
        ("alpha", 0.0, "a positive finite number"),
        ("learning_rate", float("inf"), "a positive finite number"),
        ("momentum", 1.0, r"in \[0, 1\)"),
    ],
)
def test_what_is_out_of_range_is_refused(field, value, rule):
    with pytest.raises(ValueError, match=rf"^task\.{field} must be {rule}.*got {value!r}$"):
        FederatedDigits(**{field: value})
