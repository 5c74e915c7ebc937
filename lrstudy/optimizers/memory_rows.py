"""The optimizers of the table that keep less state than Adam, or begin it anew."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lrstudy.optimizers.checks import check_choice
from lrstudy.optimizers.decay import decay_mask
from lrstudy.optimizers.directions import Around, LearningRate, Number, alone, stepped, wrapped
from lrstudy.optimizers.float32_state import with_float32_state
from lrstudy.optimizers.frugal import FREE, KINDS, frugal
from lrstudy.optimizers.lisa import STATES, lisa
from lrstudy.optimizers.paths import STACK, names
from lrstudy.optimizers.periodic_reset import periodic_reset
from lrstudy.optimizers.row import MOMENTS, POSITIVE, Optimizer, always

RESETS = {"first": ("mu",), "both": ("mu", "nu"), "restart": ("mu", "nu", "count")}
"""What of Adam's state a reset takes: the first moment; both; or both and the count, so that Adam begins anew."""

_BLOCK = "block_"
_ADAMW = {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
_ADAMW_BOUNDS = {**MOMENTS, "weight_decay": POSITIVE}


def block_of(path: tuple[Any, ...]) -> int | None:
    """The transformer block that a tensor is in, by the first of its names: ``block_3`` is 3; ``None``: in none."""
    first = names(path)[0] if path else ""
    number = first.removeprefix(_BLOCK)
    return int(number) if first != number and number.isdecimal() else None


def _key(draws: Number) -> jax.Array:
    # By its bits, so that any number will do and lanes may differ in it.
    return jax.random.key(jax.lax.bitcast_convert_type(jnp.asarray(draws, jnp.float32), jnp.uint32))


def _frugal_adamw(
    learning_rate: LearningRate,
    *,
    density_percent: int,
    draws: Number,
    b1: Number,
    b2: Number,
    eps: Number,
    weight_decay: Number,
    around: Around = None,
    **settings: Any,
) -> optax.GradientTransformation:
    alone("frugal_adamw", around, "Adam's part and the rest follow different rules")
    adam = optax.scale_by_adam(b1, b2, eps)
    split = frugal(adam, density=density_percent / 100, key=_key(draws), **settings)
    return with_float32_state(stepped(split, learning_rate, weight_decay))


def _lisa_adamw(
    learning_rate: LearningRate,
    *,
    draws: Number,
    b1: Number,
    b2: Number,
    eps: Number,
    weight_decay: Number,
    around: Around = None,
    **settings: Any,
) -> optax.GradientTransformation:
    alone("lisa_adamw", around, "it sees some of the blocks at a time")
    # Inside, so that a block that is frozen does not decay either; the rate outside, whose count is of all updates.
    adamw = optax.chain(optax.scale_by_adam(b1, b2, eps), optax.add_decayed_weights(weight_decay, mask=decay_mask))
    some = lisa(adamw, block_of, key=_key(draws), **settings)

    def init(params: Any) -> optax.OptState:
        _check_blocks(params)
        return some.init(params)

    with_blocks = optax.GradientTransformationExtraArgs(init, some.update)  # pyright: ignore[reportArgumentType]
    return with_float32_state(stepped(with_blocks, learning_rate))


def _check_blocks(params: Any) -> None:
    """There are blocks to choose from.

    Raises:
        ValueError: there are none.
    """
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    if not any(block_of(path) is not None or STACK in names(path)[:-1] for path in paths):
        found = sorted({names(path)[0] if path else "" for path in paths})
        raise ValueError(
            f"lisa_adamw must have a model of blocks, named {STACK} or {_BLOCK}0, {_BLOCK}1, ..., got {found}"
        )


def _reset_adamw(
    learning_rate: LearningRate,
    *,
    every: int,
    which: str,
    b1: Number,
    b2: Number,
    eps: Number,
    weight_decay: Number,
    around: Around = None,
) -> optax.GradientTransformation:
    check_choice("which", which, tuple(RESETS))
    direction = periodic_reset(optax.scale_by_adam(b1, b2, eps), every, RESETS[which])
    return with_float32_state(stepped(wrapped(direction, around), learning_rate, weight_decay))


ROWS: dict[str, Optimizer] = {
    "frugal_adamw": Optimizer(
        build=_frugal_adamw,
        # The density is a whole number because shapes follow from it, and numbers with a point are lanes.
        defaults={
            "kind": "columns",
            "density_percent": 25,
            "gap": 200,
            "free": "sign",
            "free_scale": 1.0,
            "reset": True,
            "draws": 0.0,
            **_ADAMW,
        },
        bounds={"density_percent": (0.0, 101.0), "gap": (1.0, math.inf), "free_scale": POSITIVE, **_ADAMW_BOUNDS},
        choices={"kind": KINDS, "free": FREE},
        family_of=always("adam"),
        paper="Zmushko et al. 2024, arXiv 2411.07837",
        scaled=False,
    ),
    "lisa_adamw": Optimizer(
        build=_lisa_adamw,
        defaults={"gamma": 2, "period": 20, "state": "reset", "draws": 0.0, **_ADAMW},
        bounds={"gamma": (1.0, math.inf), "period": (1.0, math.inf), **_ADAMW_BOUNDS},
        choices={"state": STATES},
        family_of=always("adam"),
        paper="Pan et al. 2024, arXiv 2403.17919",
        choosy=True,
        scaled=False,
    ),
    "reset_adamw": Optimizer(
        build=_reset_adamw,
        defaults={"every": 200, "which": "both", **_ADAMW},
        bounds={"every": (1.0, math.inf), **_ADAMW_BOUNDS},
        choices={"which": tuple(RESETS)},
        family_of=always("adam"),
        paper="Loshchilov & Hutter 2019, arXiv 1711.05101; moments set to zero every so many updates",
    ),
}
