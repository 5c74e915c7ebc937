"""What every tensor of a model is, and how its sides grow with the width: read off two sets of shapes."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax

from lrstudy.optimizers.paths import STACK

Role = Literal["input", "hidden", "output", "bias", "norm", "scalar"]
ROLES: tuple[Role, ...] = ("input", "hidden", "output", "bias", "norm", "scalar")

_VECTORS = {"bias": "bias", "scale": "norm"}
_FIELDS = {"role", "m_in", "m_out", "in_stack", "tied", "in_axes"}


class ParamSpec(NamedTuple):
    """One tensor of a model beside the same tensor of the base model.

    Attributes:
        role: ``input`` (from a finite side to the width), ``hidden`` (from width to width), ``output`` (the readout),
            ``bias`` and ``norm`` (vectors of the width), ``scalar`` (nothing that grows).
        m_in: by how much the fan-in grew, 1 where it is finite.
        m_out: by how much the fan-out grew, 1 where it is finite.
        in_stack: part of a residual branch, of which there are more in a deeper model.
        tied: an input table that is also the readout.
    """

    role: Role
    m_in: float
    m_out: float
    in_stack: bool = False
    tied: bool = False


Specs = dict[str, ParamSpec]
"""A tensor's path to what it is."""


class SpecError(ValueError):
    """Shapes that do not say what a tensor is; the message names the tensor and the override that would."""


def path_of(path: Sequence[Any]) -> str:
    """A key path of JAX as ``a/b/kernel``."""
    return jax.tree_util.keystr(tuple(path), simple=True, separator="/")


def flat(tree: Any) -> dict[str, Any]:
    """Path to leaf."""
    return {path_of(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def infer_specs(base_shapes: Any, target_shapes: Any, overrides: Sequence[tuple[str, Mapping[str, Any]]] = ()) -> Specs:
    """Says of every tensor what it is and how its sides grew from a base model to a target model.

    An axis is infinite, in the sense of the limit of width, if base and target differ there. Flax orders the axes of a
    kernel from in to out, so of two infinite axes the first is the fan-in, whatever finite axes (kernel window, heads,
    scanned layers) stand around them; of three, such as (width, heads, head width), neighbours are taken together so
    that both sides grow alike. Where nothing differs every factor is 1 and the role says nothing.

    Nothing is stored with the parameters: a checkpoint or an optimizer sees plain arrays.

    Args:
        base_shapes: a tree of arrays or ``jax.ShapeDtypeStruct``, as of ``jax.eval_shape(model.init, ...)["params"]``
            of the model at the base width.
        target_shapes: the same tree at the width that is trained.
        overrides: pairs of a regular expression, searched in ``a/b/kernel``, and fields of ``ParamSpec`` to set, or
            ``in_axes``, how many leading axes are the fan-in. The readout has to be named:
            ``("readout", {"role": "output"})``. Of several that match, later ones win.

    Returns:
        Path to spec, in the order of the tree.

    Raises:
        SpecError: the trees or ranks differ; an override matches nothing, or sets an unknown field or role; a fan-in
            grew where the fan-out did not and the tensor is not named the readout (a forgotten width, or a single
            key-value head of fixed size); the sides of a tensor of more than two infinite axes are ambiguous; stacked
            layers differ in number; a role contradicts the sides, or a side's growth is no positive number.

    Example:
        >>> base, target = ({"w": jax.ShapeDtypeStruct((8, width), "float32")} for width in (64, 256))
        >>> infer_specs(base, target)["w"]  # from 8 inputs to the width, which is four times the base's
        ParamSpec(role='input', m_in=1.0, m_out=4.0, in_stack=False, tied=False)
    """
    base, target = flat(base_shapes), flat(target_shapes)
    if base.keys() != target.keys():
        other = min(base.keys() ^ target.keys())
        raise SpecError(f"base_shapes and target_shapes must hold the same tensors, got {other!r} in one of them")
    chosen = _overrides(tuple(target), overrides)
    return {path: _spec(path, tuple(base[path].shape), tuple(target[path].shape), chosen[path]) for path in target}


def _overrides(paths: Sequence[str], overrides: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {path: {} for path in paths}
    for pattern, fields in overrides:
        unknown = set(fields) - _FIELDS
        if unknown:
            raise SpecError(f"an override must set fields of {sorted(_FIELDS)}, got {min(unknown)!r} for {pattern!r}")
        if fields.get("role", "input") not in ROLES:
            raise SpecError(f"role must be one of {list(ROLES)}, got {fields['role']!r} for {pattern!r}")
        try:
            matching = [path for path in paths if re.search(pattern, path)]
        except re.error as error:
            raise SpecError(f"an override must be a regular expression, got {pattern!r}: {error}") from error
        if not matching:
            raise SpecError(f"an override must match a tensor, got {pattern!r}; there are {', '.join(paths)}")
        for path in matching:
            found[path] |= fields
    return found


def _spec(path: str, base: tuple[int, ...], target: tuple[int, ...], fields: Mapping[str, Any]) -> ParamSpec:
    if len(base) != len(target):
        raise SpecError(f"{path}: base and target must have the same rank, got {base} and {target}")
    if not all((*base, *target)):
        raise SpecError(f"{path}: shapes must not be empty, got {base} and {target}")
    ratios = [t / b for b, t in zip(base, target, strict=True)]
    if STACK in path.split("/")[:-1] and ratios[0] != 1:
        raise SpecError(f"{path}: base and target must stack as many layers, got {base[0]} and {target[0]}")
    named = _VECTORS.get(path.rpartition("/")[2], "bias" if len(target) < 2 else None)
    if named:
        grown = math.prod(ratios)
        inferred = {"role": named if grown != 1 else "scalar", "m_in": 1.0, "m_out": grown}
    else:
        given = {"m_in", "m_out"} <= set(fields)
        m_in, m_out = (
            (fields["m_in"], fields["m_out"]) if given else _sides(path, ratios, target, fields.get("in_axes"))
        )
        inferred = {"role": _role(m_in, m_out), "m_in": m_in, "m_out": m_out}
    own = {name: value for name, value in fields.items() if name != "in_axes"}
    spec = ParamSpec(**{**inferred, **own})
    if inferred["role"] == "output" and "role" not in own:
        raise SpecError(
            f"{path}: its fan-in grew {spec.m_in:g}-fold and its fan-out did not. Let the base model differ in its "
            f'other side too if that is to grow; else name what it is: hidden, with a side that is fixed, ("{path}", '
            f'{{"role": "hidden"}}), or the readout, ("{path}", {{"role": "output"}})'
        )
    _check_spec(path, spec)
    return spec


# The side that is finite, by role; of a hidden tensor either may be, such as the one key-value head of all queries.
_FINITE = {"input": ("m_in",), "output": ("m_out",), "bias": ("m_in",), "norm": ("m_in",), "scalar": ("m_in", "m_out")}


def _check_spec(path: str, spec: ParamSpec) -> None:
    for name in ("m_in", "m_out"):
        value = getattr(spec, name)
        if not isinstance(value, int | float) or not 0 < value < math.inf:
            raise SpecError(f"{path}: {name} must be a finite positive number, got {value!r}")
    for name in _FINITE.get(spec.role, ()):
        if getattr(spec, name) != 1:
            raise SpecError(f"{path}: {name} must be 1 for role {spec.role}, got {getattr(spec, name):g}")
    for name in ("in_stack", "tied"):
        if not isinstance(getattr(spec, name), bool):
            raise SpecError(f"{path}: {name} must be true or false, got {getattr(spec, name)!r}")


def _role(m_in: float, m_out: float) -> Role:
    if m_in != 1:
        return "hidden" if m_out != 1 else "output"
    return "input" if m_out != 1 else "scalar"


def _sides(path: str, ratios: Sequence[float], shape: Sequence[int], in_axes: int | None) -> tuple[float, float]:
    """Growth of fan-in and fan-out."""
    if in_axes is not None:
        if not isinstance(in_axes, int) or not 0 <= in_axes <= len(ratios):
            raise SpecError(f"{path}: in_axes must be in [0, {len(ratios)}], got {in_axes!r}")
        return math.prod(ratios[:in_axes]), math.prod(ratios[in_axes:])
    infinite = [axis for axis, ratio in enumerate(ratios) if ratio != 1]
    if len(infinite) < 2:
        # The last axis is the fan-out, all others lead to it.
        return math.prod(ratios[:-1]), ratios[-1]
    growing = [ratios[axis] for axis in infinite]
    splits = [(math.prod(growing[:k]), math.prod(growing[k:])) for k in range(1, len(growing))]
    balanced = splits if len(splits) == 1 else [s for s in splits if math.isclose(*s)]
    if len(balanced) != 1:
        raise SpecError(
            f"{path}: {len(growing)} axes of {tuple(shape)} grew, by {', '.join(f'{g:g}' for g in growing)}, and it is "
            f'not clear which are the fan-in; say so, ("{path}", {{"in_axes": 1}})'
        )
    return balanced[0]
