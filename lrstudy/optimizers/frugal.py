"""FRUGAL: a part of every gradient meets an optimizer with state, the rest one without (Zmushko et al. 2025)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from lrstudy.optimizers.checks import Real, check_choice, check_number, check_period
from lrstudy.optimizers.frugal_matrix import KINDS as MATRIX_KINDS
from lrstudy.optimizers.frugal_subspace import ORDERS, Blocks, Matrices
from lrstudy.optimizers.muon import dimension_numbers

KINDS = (*MATRIX_KINDS, "block")
FREE = ("sign", "sgd", "none")


class FrugalState(NamedTuple):
    """State of ``frugal``.

    Attributes:
        count: updates so far.
        subspace: the parts that have state: indices or directions, a tree like the parameters with ``MaskedNode`` for
            tensors without; for ``block`` the numbers of the blocks.
        inner: state of the full rule on those parts alone, as small as they are.
        whole: state of the full rule on the tensors that are not split.
    """

    count: Int[Array, "*lanes"]  # pyright: ignore[reportIncompatibleMethodOverride]
    subspace: Any
    inner: optax.OptState
    whole: optax.OptState


def hidden_mask(params: Any) -> Any:
    """The kernels between embedding and readout: those that are Muon's."""
    return jax.tree.map(lambda _, numbers: numbers is not None, params, dimension_numbers(params))


def frugal(
    full: optax.GradientTransformation,
    *,
    free: str = "sign",
    density: float | int = 0.25,
    gap: int | Array = 200,
    kind: str = "columns",
    reset: bool = True,
    free_scale: Real = 1.0,
    key: Array,
    mask: Any = None,
    order: str = "random",
) -> optax.GradientTransformationExtraArgs:
    """Splits gradients between a rule with state, in a small subspace, and one without (arXiv 2411.07837, algorithm 1).

    With P the projection to the subspace of a matrix, its direction is P^T full(P g) + free_scale free(g - P^T P g).
    Before the updates 0, ``gap``, 2 ``gap`` and so on a new subspace is drawn, and with ``reset`` the state of
    ``full`` in it begins anew, count included. The state is that of coordinates in the subspace, so its memory is the
    share ``density`` of that of ``full``, while every weight moves at every update. Tensors that are not split have
    the full rule. Decay and rate are chained after it.

    A kernel is the matrix of its inputs by its outputs (``muon.dimension_numbers``), and every layer of a stack is a
    matrix with a subspace of its own. By ``kind`` a subspace is

    - ``columns``, ``rows``, ``randk``: int(n density) of the n columns, rows or entries, drawn without replacement,
    - ``svd``: the first round(n density) singular directions of the gradient at hand, n being the shorter side, of
      the rows of a matrix that is at least as tall as it is wide and otherwise of its columns; what is outside is a
      full matrix,
    - ``orth``: as many orthonormal directions drawn at random,
    - ``block``: round(n density) of the n matrices, each as a whole. ``full`` is given their entries end to end in one
      vector, as long as the largest of them need, so here it must treat entries alike, as Adam and Lion do.

    Subspaces are a function of ``key`` and the count. Under ``vmap`` every update computes one, used or not, which is
    dear for ``svd``.

    Args:
        full: a direction of ascent with state, such as ``optax.scale_by_adam()``.
        free: what becomes of the rest: its ``sign``, itself (``sgd``) or ``none`` of it.
        density: share of every matrix that has state, in [0, 1]; of 0 nothing has but the tensors that are not split.
        gap: updates between draws; the paper's 200.
        kind: of the subspaces.
        reset: whether the state begins anew with every subspace; if not, it stays though what it is of has changed.
        free_scale: of the rest; 1 for training from scratch, 0.1 for fine-tuning in the paper's code.
        key: what is drawn at random depends on it.
        mask: tree of ``bool``, or a function from parameters to one: which tensors are split; default: kernels but for
            embeddings and readout.
        order: of the blocks: ``random``, or by depth ``ascending``, ``descending`` or ``mirror``, which is both in
            turn; stacked layers are at the place of their number.

    Returns:
        Gradient to direction, of ascent.

    Raises:
        ValueError: a bad argument; at ``init``, a mask that chooses a vector.
    """
    check_choice("free", free, FREE)
    check_choice("kind", kind, KINDS)
    check_choice("order", order, ORDERS)
    check_period("gap", gap)
    if isinstance(density, bool) or not isinstance(density, int | float) or not 0 <= density <= 1:
        raise ValueError(f"density must be a number in [0, 1], which shapes follow, got {density!r}")
    density = float(density)
    check_number("free_scale", free_scale, 0.0)
    full = optax.with_extra_args_support(full)

    def rest(gradient: Array) -> Array:
        rules = {"sign": jnp.sign, "sgd": lambda g: g, "none": jnp.zeros_like}
        return free_scale * rules[free](gradient)

    def parts(params: Any) -> tuple[Matrices | Blocks, Any]:
        chosen = hidden_mask if mask is None else mask
        chosen = chosen(params) if callable(chosen) else chosen
        split = Blocks(order, density, params, chosen) if kind == "block" else Matrices(kind, density, params, chosen)
        return split, chosen

    def init(params: Any) -> FrugalState:
        split, chosen = parts(params)
        blank = split.blank(params)
        return FrugalState(
            count=jnp.zeros((), jnp.int32),
            subspace=blank,
            inner=full.init(split.down(params, blank)),
            whole=full.init(_without(params, chosen)),
        )

    def update(updates: Any, state: FrugalState, params: Any = None, **extra: Any) -> tuple[Any, FrugalState]:
        split, chosen = parts(updates)
        due = state.count % gap == 0

        def drawn() -> Any:
            turn = state.count // gap
            bases = split.draw(jax.random.fold_in(key, turn), turn, updates)
            return jax.tree.map(lambda new, old: new.astype(old.dtype), bases, state.subspace)

        bases = jax.lax.cond(due, drawn, lambda: state.subspace)
        low = split.down(updates, bases)
        low_params, whole_params = None, None
        if params is not None:
            low_params, whole_params = split.down(params, bases), _without(params, chosen)
        inner = state.inner
        if reset:
            fresh = full.init(low if low_params is None else low_params)
            inner = jax.tree.map(lambda new, old: jnp.where(due, new, old), fresh, inner)
        steps, inner = full.update(low, inner, low_params, **extra)
        joined = split.join(updates, low, steps, bases, rest)
        plain, whole = full.update(_without(updates, chosen), state.whole, whole_params, **extra)
        made = jax.tree.map(lambda is_split, j, p: j if is_split else p, chosen, joined, plain)
        return made, FrugalState(optax.safe_increment(state.count), bases, inner, whole)

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def _without(tree: Any, chosen: Any) -> Any:
    """The tensors that are not split."""
    return jax.tree.map(lambda leaf, is_split: optax.MaskedNode() if is_split else leaf, tree, chosen)
