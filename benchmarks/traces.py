"""What every operation of a compiled program takes, moves and belongs to."""

import dataclasses
import math
import re
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)")
_ARRAY = re.compile(r"(f64|s64|u64|f32|s32|u32|bf16|f16|s16|u16|s8|u8|pred)\[([\d,]*)\]")
_SIZES = {"f64": 8, "s64": 8, "u64": 8, "f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}
_CONTROL = ("while", "conditional", "call", "tuple", "get-tuple-element")
"""Operations whose time is that of others, or none."""


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation of the program.

    Attributes:
        scope: where it comes from in the traced code, by names with slashes; of a fusion that of its last operation.
        seconds: median of its executions.
        bytes: that it reads and writes.
        count: executions a call.
    """

    scope: str
    seconds: float
    bytes: int
    count: float


def array_bytes(shape: str) -> int:
    """Of a shape as XLA prints it."""
    found = _ARRAY.findall(shape)
    return sum(_SIZES.get(kind, 1) * math.prod(int(n) for n in axes.split(",") if n) for kind, axes in found)


def described(text: str) -> dict[str, tuple[str, int]]:
    """Scope and bytes of every instruction of a compiled program, by its name."""
    own, parts = {}, {}
    for line in text.splitlines():
        match = _INSTRUCTION.match(line)
        if match is None:
            continue
        name, shape, kind, rest = match.groups()
        own[name] = array_bytes(shape)
        if kind not in _CONTROL:
            scope = re.search(r'op_name="([^"]*)"', rest)
            operands = re.findall(r"%([\w.\-]+)", rest.split("),")[0])
            parts[name] = scope[1] if scope else "", operands
    return {
        name: (scope, own[name] + sum(own.get(operand, 0) for operand in operands))
        for name, (scope, operands) in parts.items()
    }


def operations(compiled: Any, call: Callable[[], Any], calls: int) -> list[Operation]:
    """Every operation that a compiled program executes.

    Args:
        compiled: the program.
        call: calls it once, and waits for it.
        calls: to look at.
    """
    known = described(compiled.as_text())
    seconds: dict[str, list[float]] = defaultdict(list)
    call()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(calls):
                call()
        [path] = Path(folder).rglob("*.xplane.pb")
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            for line in plane.lines:
                for event in line.events:
                    name = dict(event.stats).get("hlo_op")
                    if name in known:
                        seconds[str(name)].append(1e-9 * event.duration_ns)
    return [
        Operation(known[name][0], statistics.median(each), known[name][1], len(each) / calls)
        for name, each in seconds.items()
    ]
