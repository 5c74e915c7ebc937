"""Extra arguments that an update needs: whoever calls it without one is told which."""

from collections.abc import Mapping
from typing import Any

import optax

MEANINGS: Mapping[str, str] = {
    "value": "the loss at the parameters before it",
    "grad_fn": "(params, i) -> the gradient of the batch's loss",
    "obj_fn": "params -> the batch's loss",
}
"""What there is: optax's names and conventions, which the training step keeps to."""


def needing(
    name: str, arguments: tuple[str, ...], transform: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    """A transform whose ``update`` says which of its extra arguments it was not given.

    Args:
        name: what the transform is called in the message.
        arguments: names of ``MEANINGS``.
        transform: any transform.

    Returns:
        The same transform; a missing argument is a ``ValueError`` where Python or optax would have raised something
        else, deep inside and without the optimizer's name.
    """
    inner = optax.with_extra_args_support(transform)

    def update(updates: Any, state: optax.OptState, params: Any = None, **extra: Any) -> tuple[Any, optax.OptState]:
        for argument in arguments:
            if extra.get(argument) is None:
                raise ValueError(f"{argument} must be given to an update of {name}: {MEANINGS[argument]}, got None")
        return inner.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(inner.init, update)
