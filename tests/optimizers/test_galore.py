"""GaLore against its algorithm in NumPy: which tensors are projected, when, and how."""

import jax
import jax.numpy as jnp
import numpy as np

from lrstudy.optimizers import TABLE

SHAPES = {
    "blocks": {"up": {"kernel": (2, 6, 4), "bias": (2, 4)}},
    "embedding": {"embedding": (5, 4)},
    "hidden": {"kernel": (4, 6)},
    "readout": {"kernel": (4, 3)},
}
RANK, GAP, SCALE, B1, B2, EPS, STEPS = 2, 2, 0.25, 0.8, 0.9, 1e-8, 4


def tree(seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda s: rng.normal(size=s), SHAPES, is_leaf=lambda s: type(s) is tuple)


class Adam:
    def __init__(self):
        self.mean = self.square = self.t = 0

    def __call__(self, g):
        self.t += 1
        self.mean, self.square = B1 * self.mean + (1 - B1) * g, B2 * self.square + (1 - B2) * g * g
        return self.mean / (1 - B1**self.t) / (np.sqrt(self.square / (1 - B2**self.t)) + EPS)


class Projected:
    """A matrix in the leading singular directions of its longer side.

    Their signs are arbitrary, and after a refresh moments of the old projector meet the new one: so the decomposition
    is the one that optax asks for, of the matrix as it is and in float32.
    """

    def __init__(self):
        self.adam = Adam()

    def __call__(self, g):
        left = g.shape[0] >= g.shape[1]
        if self.adam.t % GAP == 0:
            first, _, second = jnp.linalg.svd(jnp.float32(g), full_matrices=False)
            self.projector = np.asarray(first[:, :RANK] if left else second[:RANK].T, np.float64)
        p = self.projector
        return SCALE * (p @ self.adam(p.T @ g) if left else self.adam(g @ p) @ p.T)


def test_hidden_matrices_move_in_a_low_rank_and_the_rest_is_adams():
    rules = {
        "blocks": {"up": {"kernel": [Projected(), Projected()], "bias": [Adam(), Adam()]}},
        "embedding": {"embedding": [Adam()]},
        "hidden": {"kernel": [Projected()]},
        "readout": {"kernel": [Adam()]},
    }
    with jax.enable_x64(True):
        settings = {"rank": RANK, "gap": GAP, "scale": SCALE, "b1": B1, "b2": B2, "eps": EPS, "weight_decay": 0.0}
        transform = TABLE["galore"].build(1.0, **settings)
        params = jax.tree.map(jnp.asarray, tree(0))
        state, update = transform.init(params), jax.jit(transform.update)
        moments = {x.shape for x in jax.tree.leaves(state)}
        # The moments of a projected matrix have the rank for its longer side.
        assert {(RANK, 4), (4, RANK)} <= moments
        assert not {(6, 4), (4, 6), (2, 6, 4)} & moments
        for step in range(STEPS):
            grads = tree(1 + step)
            updates, state = update(jax.tree.map(jnp.asarray, grads), state, params)
            pairs = zip(*(jax.tree.leaves(x) for x in (grads, updates)), strict=True)
            is_list = jax.tree.leaves(rules, is_leaf=lambda x: type(x) is list)
            for (grad, found), rule in zip(pairs, is_list, strict=True):
                stacked = grad if len(rule) > 1 else grad[None]
                expected = np.stack([-one(g) for one, g in zip(rule, stacked, strict=True)])
                # The decompositions are the same but for how programs round them: some 1e-6 over gaps of size one.
                np.testing.assert_allclose(found, expected.reshape(grad.shape), rtol=0, atol=2e-5)
