"""The API's pages, made from the docstrings of the public modules.

``make docs``, or ``python -m tests.documents.reference``, writes them to ``build/docs``. A warning, such as of an
annotation that cannot be read, is an error.
"""

import contextlib
import inspect
import pkgutil
import re
import sys
import types
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import optax
import pdoc
import pdoc.doc
import pdoc.doc_types
import pdoc.extract
import pdoc.render

ROOT = Path(__file__).parents[2]
OUTPUT = ROOT / "build/docs"
ROOMS = (
    "schedules",
    "optimizers",
    "parametrization",
    "curvature",
    "laws",
    "tasks",
    "models",
    "training",
    "benchmark",
    "study",
)
"""Rooms whose ``__all__`` is what there is to know of them."""
MODULES = (
    "feedback",
    "laws.extrapolation",
    "training.averaging",
    "training.checkpoint",
    "training.devices",
    "training.lanes",
    "training.loop",
    "benchmark.workload",
    "study.experiment",
    "study.part",
    "study.config",
    "study.choices",
    "study.claims",
    "study.records",
    "study.probes",
    "study.views",
    "study.loss_curves",
    "study.main",
    "study.fit_laws",
    "study.refine",
    "study.extrapolator",
    "study.autolrs",
)
"""Modules that are used by their own names."""
_SHORTER = {
    "jax.jaxlib._jax.Array": "jax.Array",
    "jaxlib._jax.Array": "jax.Array",
    "optax._src.base.": "optax.",
    "collections.abc.": "",
    "jaxtyping.": "",
    "typing.": "",
}
"""What no reader needs to see of an annotation to what stands for it."""
_NAME = re.compile(r"\b(lrstudy(?:\.\w+)*)\.([A-Z]\w*)")


def build(output: Path, rooms: tuple[str, ...] = ROOMS, modules: tuple[str, ...] = MODULES) -> None:
    """Writes the pages.

    Args:
        output: folder of the pages.
        rooms: of the package.
        modules: below the package.

    Raises:
        UserWarning: for what cannot be shown as it is.
    """
    specs = ["lrstudy", *(f"lrstudy.{name}" for name in (*rooms, *modules))]
    pdoc.render.configure(docformat="google")
    with warnings.catch_warnings(), contextlib.ExitStack() as patches:
        warnings.simplefilter("error")
        for place, name, ours in (
            (pdoc.extract, "walk_specs", lambda _: specs),
            (pdoc.extract, "iter_modules2", _submodules(specs)),
            (pdoc.doc, "safe_eval_type", _evaluated),
            (pdoc.doc_types, "safe_eval_type", _evaluated),
            (pdoc.doc, "formatannotation", readable),
            (inspect, "formatannotation", readable),
        ):
            patches.enter_context(mock.patch.object(place, name, ours))
        pdoc.pdoc("lrstudy", output_directory=output)


def readable(annotation: Any, *owner: Any) -> str:
    """An annotation as a person would write it; what has a page keeps its whole name, which becomes a link."""
    text = _shorter(_format(annotation, *owner)).replace(_shorter(repr(optax.Params)), "ArrayTree")
    return _NAME.sub(lambda name: name[0] if _has_page(name[1], name[2]) else name[2], text)


def _shorter(text: str) -> str:
    for long, short in _SHORTER.items():
        text = text.replace(long, short)
    return text


def _has_page(module: str, name: str) -> bool:
    """Whether a class is described on a page: its module's, or that of the room that gives it out."""
    room = ".".join(module.split(".")[:2])
    given = getattr(sys.modules[room], "__all__", ())
    return name in given or module.removeprefix("lrstudy.") in MODULES


_format = inspect.formatannotation
_eval_type = pdoc.doc_types.safe_eval_type


def _evaluated(annotation: Any, *names: Any) -> Any:
    """A tree of arrays refers to itself by a name of optax's own, which no module has; it is shown as it is."""
    return annotation if "ForwardRef('ArrayTree')" in repr(annotation) else _eval_type(annotation, *names)


def _submodules(shown: list[str]) -> Any:
    """Modules below a module that have a page; a function that is called as its module is no module."""

    def found(module: types.ModuleType) -> Mapping[str, pkgutil.ModuleInfo]:
        below = [name for name in shown if name.rpartition(".")[0] == module.__name__]
        return {name.rpartition(".")[2]: pkgutil.ModuleInfo(None, name, ispkg=False) for name in below}  # type: ignore[arg-type]

    return found


def main() -> int:
    """Writes the pages and says where; returns the exit code."""
    build(OUTPUT)
    print(OUTPUT / "index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
