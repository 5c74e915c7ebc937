"""The coordinate check: do activations, and what training changes of them, keep their size as the model widens?"""

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from lrstudy.optimizers import TABLE
from lrstudy.parametrization.model import Parametrized, starts_at_zero
from lrstudy.parametrization.specs import Specs, flat, infer_specs
from lrstudy.parametrization.transform import check_starts, rules_of, transform

TOLERANCE = 0.15
"""The steepest slope that passes: over four widths, one doubling apart, three seeds leave up to half of it as noise."""

_LEAST_SEEDS = 3
_MOVED = "w "

Loss = Callable[[Any, Any], Array]
MakeModel = Callable[[int], tuple[nn.Module, Any, Loss]]


class CoordinateCheck(NamedTuple):
    """How activations grow with the width, as exponents.

    Attributes:
        slopes: series to its slope at every t, the number of updates made before. A series is ``|h| NAME``, the mean
            magnitude of what a module puts out, or ``|h - h0| NAME``, that of its change since t = 0; ``NAME`` is the
            module's path, ``output`` for the model. A slope is the least-squares one of log2 of the series, averaged
            over seeds, over log2 of the width, and NaN where the series is zero or not finite at some width.
        passed: no series failed.
        failing: the series that failed: steeper than ``TOLERANCE`` at the last t, zero there at some widths only, or
            not finite anywhere; and ``w PATH`` for every tensor that training had not moved by then at some width,
            for what does not train keeps every size.
    """

    slopes: dict[str, tuple[float, ...]]
    passed: bool
    failing: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Run:
    """A model of one width that is trained on one batch."""

    model: Parametrized
    transform: optax.GradientTransformationExtraArgs
    loss: Loss
    batch: Any
    steps: int

    def sizes(self, variables: Mapping[str, Any]) -> dict[str, Float[Array, " steps"]]:
        """Series to its value at every step, and of every tensor whether it has moved, from these initial variables."""
        params = variables["params"]
        start = flat(params)
        first = jax.tree.map(jnp.zeros_like, self._activations(variables, params))

        def step(carry: Any, count: Array) -> tuple[Any, dict[str, Array]]:
            params, state, first = carry
            now = self._activations(variables, params)
            # The first activations are taken inside the loop: compiled elsewhere they would differ in the last bits,
            # and what does not move would seem to.
            first = {name: jnp.where(count == 0, h, first[name]) for name, h in now.items()}
            found = {f"|h| {name}": jnp.mean(jnp.abs(h)) for name, h in now.items()}
            found |= {f"|h - h0| {name}": jnp.mean(jnp.abs(h - first[name])) for name, h in now.items()}
            found |= {f"{_MOVED}{name}": jnp.any(w != start[name]) for name, w in flat(params).items()}
            value, grads = jax.value_and_grad(lambda p: self.loss(self.model.effective(p), self.batch))(params)
            updates, state = self.transform.update(grads, state, params, value=value)
            return (optax.apply_updates(params, updates), state, first), found

        carry = (params, self.transform.init(params), first)
        return jax.lax.scan(step, carry, jnp.arange(self.steps))[1]

    def _activations(self, variables: Mapping[str, Any], params: Any) -> dict[str, Array]:
        """Every array that a module puts out or keeps as an intermediate, by the module's path."""
        _, kept = self.model.apply(
            {**variables, "params": params}, _inputs(self.batch), capture_intermediates=True, mutable=["intermediates"]
        )
        return dict(_named(kept["intermediates"]))


def _named(intermediates: Any) -> Iterator[tuple[str, Array]]:
    for path, leaf in jax.tree_util.tree_leaves_with_path(intermediates):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            parts = [str(getattr(entry, "key", getattr(entry, "idx", entry))) for entry in path]
            # A module that is called once keeps its output as NAME/__call__/0.
            kept = [part for part in parts if part != "__call__"]
            yield "/".join(kept[:-1] if kept[-1] == "0" else kept) or "output", leaf


def coordinate_check(
    make_model: MakeModel,
    widths: Sequence[int],
    *,
    base_width: int,
    parametrization: str,
    optimizer: str,
    learning_rate: float,
    steps: int = 4,
    seeds: Sequence[int] = (0, 1, 2),
    zero_readout: bool = True,
    zero_query: bool = True,
    overrides: Sequence[tuple[str, Mapping[str, Any]]] | None = None,
    exclude: str | None = None,
    **options: Any,
) -> CoordinateCheck:
    """Trains a few steps on one batch at several widths and fits how every activation grows with the width.

    In a parametrization that transfers, nothing does: neither what the modules put out nor how far training moved it,
    which is the more sensitive of the two, as it does not hold the initial values (Yang et al. 2022, arXiv 2203.03466,
    appendix D, where it is judged by eye). A wrong rate of a bias does not show here; compare the rules themselves.

    Args:
        make_model: width to (module, batch, loss). The module is applied to the batch, to its first entry where it is a
            tuple; ``loss(params, batch)`` is given the parameters as the module sees them, multiplied. The module is
            built with the attention scale that belongs to its width and parametrization.
        widths: at least two, all different.
        base_width: at which every factor of the parametrization is 1.
        parametrization: see ``rules``.
        optimizer: a row of the table of optimizers.
        learning_rate: of the base model, positive; larger than one trains with, for the signal.
        steps: activations are looked at before each of so many updates; at least 3, as what lies below a readout that
            starts at zero moves from the second update on, and 4 where queries start at zero, which hold keys back by
            one more.
        seeds: of the initial parameters, at least three and all different.
        zero_readout: see ``starts_at_zero``. It takes away the transient of a random readout, which falls like the
            width to the power -1/2 and would be seen for some steps.
        zero_query: see ``starts_at_zero``.
        overrides: see ``infer_specs``; ``None``: the module's own ``spec_overrides()``.
        exclude: a regular expression; modules and tensors whose path it is found in are left out. The attention logits
            of a model with a tied readout shrink in narrow models even where everything is right.
        **options: further arguments of ``transform``: the form, Adam's epsilon, hyperparameters.

    Raises:
        ValueError: too few widths, steps or seeds, or one twice; a rate that is not positive; widths whose modules
            differ; nothing that is not excluded; and what ``transform``, ``infer_specs`` and ``check_starts`` refuse.
    """
    _check_experiment(widths, seeds, learning_rate)
    settings = {name: options[name] for name in ("form", "depth_multiplier", "alpha") if name in options}

    def series(width: int) -> dict[str, Float[np.ndarray, "seeds steps"]]:
        module, batch, loss = make_model(width)
        batch = jax.tree.map(jnp.asarray, batch)
        specs = _specs(make_model(base_width), module, batch, overrides)
        update = transform(optimizer, specs, learning_rate, parametrization=parametrization, **options)
        own = {name: value for name, value in options.items() if name in TABLE[optimizer].defaults}
        found = rules_of(optimizer, specs, own, parametrization=parametrization, **settings)
        zero = starts_at_zero(module, specs, readout=zero_readout, query=zero_query)
        check_starts(optimizer, zero, own)
        _check_steps(steps, zero)
        model = Parametrized.of(module, found, zero)
        run = _Run(model, optax.with_extra_args_support(update), loss, batch, steps)
        initial = [_initial(model, jax.random.key(seed), _inputs(batch)) for seed in seeds]
        # One seed after another: side by side they would be no faster where the width fills the machine.
        sizes = jax.jit(lambda each: jax.lax.map(run.sizes, each))(jax.tree.map(lambda *x: jnp.stack(x), *initial))
        return {name: np.asarray(values, np.float64) for name, values in sizes.items()}

    return _verdict({width: series(width) for width in widths}, exclude)


def _check_experiment(widths: Sequence[int], seeds: Sequence[int], learning_rate: float) -> None:
    if len(widths) < 2 or len(set(widths)) < len(widths):
        raise ValueError(f"widths must be at least two and all different, got {widths!r}")
    if len(set(seeds)) < max(_LEAST_SEEDS, len(seeds)):
        raise ValueError(f"seeds must be at least {_LEAST_SEEDS} and all different, got {seeds!r}")
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be a finite positive number, got {learning_rate!r}")


def _check_steps(steps: int, zero: Sequence[str]) -> None:
    least = 4 if any("query" in path for path in zero) else 3
    if steps < least:
        raise ValueError(
            f"steps must be at least {least} where {', '.join(zero) or 'nothing'} starts at zero, got {steps!r}"
        )


@functools.partial(jax.jit, static_argnums=0)
def _initial(model: Parametrized, key: Key[Array, ""], inputs: Any) -> dict[str, Any]:
    """Initial variables; drawing them takes longer to compile than training, and checks of one model share it."""
    return model.init(key, inputs)


def _inputs(batch: Any) -> Any:
    """What a module is applied to."""
    return batch[0] if isinstance(batch, tuple) else batch


def _specs(
    base: tuple[nn.Module, Any, Loss],
    module: nn.Module,
    batch: Any,
    overrides: Sequence[tuple[str, Mapping[str, Any]]] | None,
) -> Specs:
    """What the module's tensors are beside those of the base model."""

    def shapes(module: nn.Module, batch: Any) -> Any:
        return jax.eval_shape(module.init, jax.random.key(0), _inputs(batch))["params"]

    own = getattr(module, "spec_overrides", tuple)()
    return infer_specs(shapes(base[0], base[1]), shapes(module, batch), own if overrides is None else overrides)


def _verdict(
    sizes: Mapping[int, Mapping[str, Float[np.ndarray, "seeds steps"]]], exclude: str | None
) -> CoordinateCheck:
    """Fits and judges every series.

    Raises:
        ValueError: widths hold different series, or all are excluded.
    """
    names = {frozenset(found) for found in sizes.values()}
    if len(names) > 1:
        one, other = list(names)[:2]
        raise ValueError(f"make_model must give the same modules at every width, got {min(one ^ other)!r} at some")
    slopes, failing = {}, []
    widths = np.log2(list(sizes))
    for name in next(iter(sizes.values())):
        if exclude is not None and re.search(exclude, name.rpartition(" ")[2]):
            continue
        values = np.stack([found[name].mean(axis=0) for found in sizes.values()])
        last = values[:, -1]
        if name.startswith(_MOVED):
            failing += [] if last.all() else [name]
            continue
        slopes[name] = tuple(_slope(widths, at_step) for at_step in values.T)
        dead = (last == 0).any() and (last != 0).any()
        if dead or not np.isfinite(values).all() or abs(slopes[name][-1]) > TOLERANCE:
            failing.append(name)
    if not slopes:
        raise ValueError(f"exclude must leave something to judge, got {exclude!r}")
    return CoordinateCheck(slopes, not failing, tuple(failing))


def _slope(x: Float[np.ndarray, " widths"], values: Float[np.ndarray, " widths"]) -> float:
    """The least-squares slope of log2 of the values; NaN where one has no logarithm."""
    if not (np.isfinite(values) & (values > 0)).all():
        return float("nan")
    centred = x - x.mean()
    return float(centred @ np.log2(values) / (centred @ centred))
