"""What ``benchmarks.gpu`` runs, section by section: commands, what they need, and how long each may take."""

import dataclasses
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

LIBRARIES = (
    "absl",
    "flax",
    "jax",
    "jaxtyping",
    "numpy",
    "optax",
    "optimistix",
    "orbax.checkpoint",
    "pandas",
    "pyarrow",
)
STUDY = re.compile(r"study:([a-z][a-z_0-9]*)")
ROOT = Path(__file__).parents[1]


@dataclasses.dataclass(frozen=True)
class Section:
    """A command.

    Attributes:
        name: of it, also that of its files.
        module: behind ``python -m``.
        arguments: on a GPU; ``{work}`` stands for the folder that later calls go on from.
        dry: in their place in a dry run.
        seconds: that it may take at most.
        needs: modules without which it is left out.
        env: beside this process's.
        gains: modules without which it does less, each with what is then missing.
    """

    name: str
    module: str
    arguments: Sequence[str]
    dry: Sequence[str]
    seconds: float
    needs: Sequence[str] = LIBRARIES
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    gains: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def command(self, work: Path, *, dry: bool) -> list[str]:
        """The command line."""
        given = [argument.format(work=work) for argument in (self.dry if dry else self.arguments)]
        return [sys.executable, "-m", self.module, *given]

    def study_folder(self, work: Path) -> Path | None:
        """Where a study keeps its runs; ``None`` for the other sections."""
        kind, _, study = self.name.partition(":")
        return work / study if kind == "study" else None

    def files(self, work: Path) -> tuple[Path, ...]:
        """Where it writes its numbers and, if any, its table; those of an earlier call are in the same places."""
        folder = self.study_folder(work)
        if folder is not None:
            return (folder / "claims.json",)
        if self.name == "tests":
            return (work / "results" / "tests.xml",)
        name = self.module.rpartition(".")[2]
        return (work / "results" / f"{name}.json", work / "results" / f"{name}.md")

    def numbers(self, work: Path) -> Any:
        """What it measured, as far as it came; ``None`` if nothing."""
        path = self.files(work)[0]
        if not path.is_file():
            return None
        if self.name == "tests":
            return _tests(path)
        found = json.loads(path.read_text())
        return _claims(found) if self.study_folder(work) else found


_PYTEST = ("-m", "gpu", "-q", "-p", "no:cacheprovider", "--junitxml={work}/results/tests.xml", "tests/gpu")
SECTIONS = {
    section.name: section
    for section in (
        Section(
            "tests",
            "pytest",
            # Warnings of other releases than ours are no errors there: what counts is whether the numbers are right.
            ("-W", "default", *_PYTEST),
            ("-W", "default", *_PYTEST),
            120,
            needs=("pytest", *LIBRARIES),
            # Both platforms, as numbers are compared; the memory is left to who asks for it.
            env={"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},
            gains={"beartype": "array shapes are not checked while tests run"},
        ),
        Section(
            "lanes",
            "benchmarks.executors",
            ("--lanes=64", "--sizes=64x16", "--steps=50", "--repeats=5"),
            ("--lanes=2", "--sizes=16x2", "--steps=2", "--repeats=1"),
            150,
        ),
        Section(
            "decoder",
            "benchmarks.decoder",
            ("--size=124M", "--steps=10", "--repeats=7"),
            ("--size=tiny", "--batch_size=2", "--steps=2", "--repeats=2", "--notorch_compile"),
            240,
            gains={"torch": "the decoder has nothing to be compared with"},
        ),
        Section(
            "sharpness",
            "benchmarks.decoder_sharpness",
            ("--size=124M", "--batch_size=4", "--modes=linearize", "--repeats=1"),
            ("--size=tiny", "--batch_size=2", "--modes=linearize", "--precisions=highest", "--repeats=1"),
            200,
        ),
    )
}
DEFAULT = (*SECTIONS, "study:grokking", "study:river_valley")
"""What is run where no section is named, the least important last."""
DRY = DEFAULT[:-1]
"""The same of a dry run, to which one study says as much as two."""


def section_of(name: str) -> Section:
    """A section by its name.

    Raises:
        ValueError: there is none.
    """
    if name in SECTIONS:
        return SECTIONS[name]
    found = STUDY.fullmatch(name)
    if not found or not (ROOT / "experiments" / f"{found[1]}.py").is_file():
        raise ValueError(f"section must be one of {', '.join(SECTIONS)} or study:<name of a study>, got {name!r}")
    folder = "--workdir={work}/" + found[1]
    return Section(
        name,
        f"experiments.{found[1]}",
        ("--preset=gpu", folder),
        ("--preset=smoke", folder),
        540,
        needs=(*LIBRARIES, "matplotlib", "scipy", "sklearn", "tqdm"),
    )


def _tests(path: Path) -> dict[str, Any] | None:
    """How many tests there were, and the names of those that failed."""
    suite = ElementTree.parse(path).getroot().find("testsuite")
    if suite is None:
        return None
    failed = [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None]
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    return {**counts, "failed": failed}


def _claims(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a finished study says of its claims."""
    kept = ("measured", "comparison", "threshold", "holds", "n")
    return {one["id"]: {name: one.get(name) for name in kept} for one in found["claims"]}
