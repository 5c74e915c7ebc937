"""The README's tables of studies, schedules, optimizers and laws, made from the tables in the code.

``python -m tests.documents.catalogue`` writes them anew; ``test_catalogue.py`` fails where the README has others.
"""

import ast
import importlib
import pkgutil
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import experiments
from lrstudy import laws, models, optimizers, schedules, tasks
from lrstudy.feedback import trained_params
from lrstudy.laws.hyperparameter_law import HyperparameterLaw
from lrstudy.laws.law import Law
from lrstudy.laws.schedule_law import ScheduleLaw
from lrstudy.laws.size_law import SizeLaw
from lrstudy.study.experiment import Experiment
from lrstudy.study.figures.gallery import example
from tests.conformance.test_optimizers import PLAIN
from tests.documents import recorded
from tests.schedules.cases import ALL
from tests.schedules.golden import ROWS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BEGIN, END = "<!-- tables: begin; python -m tests.documents.catalogue writes them -->\n", "<!-- tables: end -->\n"
_ID = re.compile(r"arXiv[: ](\d{4}\.\d{4,5})")
_YEAR = re.compile(r"^.*?\b(?:19|20)\d\d\b")


def linked(paper: str) -> str:
    """Authors and years as links to arXiv, without titles; what names no number there as it is."""
    return "; ".join(_linked(part) for part in paper.split("; ")) or "none"


def _linked(part: str) -> str:
    ids = list(_ID.finditer(part))
    if not ids:
        return part.replace("|", r"\|")
    year = _YEAR.match(part[: ids[0].start()])
    links = [f"[{year[0] if year else ids[0][0]}]({_address(ids[0][1])})"]
    links += [f"[arXiv {other[1]}]({_address(other[1])})" for other in ids[1:]]
    return ", ".join(links) + part[ids[-1].end() :]


def _address(number: str) -> str:
    return f"https://arxiv.org/abs/{number}"


def studies() -> dict[str, Experiment]:
    """Name to study, of every binary that is one; the benchmark, which scores what it is given, is none."""
    names = [found.name for found in pkgutil.iter_modules(experiments.__path__)]
    modules = [name for name in names if "\nEXPERIMENT = " in (ROOT / "experiments" / f"{name}.py").read_text()]
    return {name: importlib.import_module(f"experiments.{name}").EXPERIMENT for name in modules}


def study_rows() -> list[tuple[str, ...]]:
    """A row a study: what it asks, how it came out, whose it is."""
    results = recorded.results((ROOT / recorded.FILE).read_text())
    rows = []
    for name, study in sorted(studies().items(), key=lambda item: (not item[1].claims, item[0])):
        rows.append((f"`{name}`", study.asks, _outcome(study, results.get(name)), linked(study.paper)))
    return rows


def _outcome(study: Experiment, found: recorded.Results | None) -> str:
    if not study.claims:
        return "claims nothing"
    if found is None:
        return f"{len(study.claims)} claims, no results recorded"
    open_ones = f", {found.unsettled} not settled" if found.unsettled else ""
    return f"[{found.holding} of {found.claims} hold{open_ones}]({recorded.FILE}#{found.anchor})"


def schedule_rows() -> list[tuple[str, ...]]:
    """A row a schedule: whose it is, what it begins with, what its tests compare it with."""
    golden = Counter()
    for row in ROWS:
        golden[type(row.schedule).__name__] += len(row.values)
    cases = Counter(type(case).__name__ for case in ALL.values())
    rows: list[tuple[str, ...]] = []
    for name, cls in schedules.TABLE.items():
        length = "made of others" if name in schedules.WRAPPERS else _length(name)
        checked = f"cases: {cases[name]}" + (f", golden rates: {golden[name]}" if golden[name] else "")
        rows.append((f"`{name}`", linked(cls.paper), length, checked))
    return rows


def _length(name: str) -> str:
    """How long a schedule of the class is, and whether one run of its trunk serves several."""
    schedule = example(name)
    fields = vars(schedule)
    length = "has a length" if {"total_steps", "total_tokens", "ends", "boundaries"} & set(fields) else "has no length"
    return length + (", branches from a trunk" if schedule.trunk() else "")


def optimizer_rows() -> list[tuple[str, ...]]:
    """A row an optimizer of the table: whose it is, and what the table and its tests say of it."""
    rows = []
    for name, row in optimizers.TABLE.items():
        said = ["optax's own bits"] if name in PLAIN else []
        said += ["rates carry over widths"] if row.scaled else []
        said += ["evaluated at an average"] if row.eval_params is not trained_params else []
        said += [f"needs `{argument}`" for argument in row.extra_args]
        gradients = row.gradients_of(row.defaults)
        said += [f"{gradients:g} gradients an update"] if gradients != 1 else []
        rows.append((f"`{name}`", linked(row.paper), row.family({}), ", ".join(said)))
    return rows


def transform_rows() -> list[tuple[str, ...]]:
    """A row a function to compose by hand: what it does, and the papers that its docstring names."""
    names = (name for name in optimizers.__all__ if name not in optimizers.TABLE and name[0].islower())
    return [(f"`{name}`", *_described(getattr(optimizers, name))) for name in names]


def _described(thing: Any) -> tuple[str, str]:
    """The first line of a docstring, and links to the papers that it or its module's names."""
    texts = (thing.__doc__ or "", sys.modules[thing.__module__].__doc__ or "")
    ids = next((found for found in (_ID.findall(text) for text in texts) if found), [])
    first = re.sub(r"\s*\([^()]*arXiv[^()]*\)", "", texts[0].splitlines()[0])
    papers = (f"[arXiv {number}]({_address(number)})" for number in dict.fromkeys(ids))
    return first.replace("``", "`").replace("|", r"\|"), ", ".join(papers)


def described_rows(rows: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A row a class of a table: what it is, and the papers that its docstring names."""
    return [(f"`{name}`", *_described(cls)) for name, cls in rows.items()]


def law_rows() -> list[tuple[str, ...]]:
    """A row a law: whose it is, what it is fitted to, and which tests there are of its numbers."""
    worked, recovered = _used("test_golden.py"), _used("test_fits.py")
    rows = []
    for name in laws.__all__:
        law = getattr(laws, name)
        if not (isinstance(law, type) and hasattr(law, "paper")):
            continue
        given = {name} | {one for one in laws.__all__ if type(getattr(laws, one)) is law}
        checked = ["worked values"] if given & worked else []
        checked += ["recovered by its fit"] if given & recovered and hasattr(law, "fit") else []
        rows.append((f"`{name}`", linked(law.paper), _fitted_to(law), ", ".join(checked)))
    return rows


def _fitted_to(law: type) -> str:
    if issubclass(law, ScheduleLaw):
        return "loss curves"
    if issubclass(law, HyperparameterLaw):
        return "best runs"
    if issubclass(law, SizeLaw):
        return "ends of runs"
    return "loss curves of several sizes" if issubclass(law, Law) else "nothing"


def _used(test: str) -> set[str]:
    """Names that the functions and constants of a test of laws use."""
    tree = ast.parse((ROOT / "tests/laws" / test).read_text())
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def folded(summary: str, body: str) -> str:
    """What a reader unfolds."""
    return f"<details>\n<summary>{summary}</summary>\n\n{body}\n</details>\n"


def catalogue() -> str:
    """All tables, as they stand between the README's two marks."""
    kinds = {"schedules": schedule_rows(), "optimizers": optimizer_rows(), "by hand": transform_rows()}
    kinds |= {"laws": law_rows(), "tasks": described_rows(tasks.TABLE), "models": described_rows(models.TABLE)}
    parts = [
        table(("study", "what it asks", "of its claims", "after"), study_rows()),
        folded(
            f"{len(kinds['schedules'])} schedules: <code>lrstudy.schedules.TABLE</code>",
            "Every case agrees with a formula written apart, in float32 and float64, with its lane of a stack and "
            "with itself after JSON; golden rates are published, or recomputed independently.\n\n"
            + table(("schedule", "after", "kind", "compared with"), kinds["schedules"]),
        ),
        folded(
            f"{len(kinds['optimizers'])} optimizers: <code>lrstudy.optimizers.TABLE</code>",
            "Every row keeps the promises of `tests/conformance`: `jit`, lanes of its numbers, bfloat16 parameters "
            "with float32 state, donation, shapes known beforehand, a first gradient of zeros, checkpoints.\n\n"
            + table(("optimizer", "after", "steps like", "what it asks and gives"), kinds["optimizers"]),
        ),
        folded(
            f"{len(kinds['by hand'])} transforms and functions to compose by hand: <code>lrstudy.optimizers</code>",
            table(("name", "what it is", "after"), kinds["by hand"]),
        ),
        folded(
            f"{len(kinds['laws'])} laws: <code>lrstudy.laws</code>",
            table(("law", "after", "fitted to", "its tests"), kinds["laws"]),
        ),
        folded(
            f"{len(kinds['tasks'])} tasks and {len(kinds['models'])} models: <code>lrstudy.tasks.TABLE</code>, "
            "<code>lrstudy.models.TABLE</code>",
            table(("task", "what it is", "after"), kinds["tasks"])
            + "\n"
            + table(("model", "what it is", "after"), kinds["models"]),
        ),
    ]
    return "\n".join(parts)


def main() -> int:
    """Writes the tables into the README; returns the exit code."""
    before, _, rest = README.read_text().partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        print(f"error: README.md must have the two marks of the tables, got none: {BEGIN.strip()}", file=sys.stderr)
        return 2
    README.write_text(f"{before}{BEGIN}{catalogue()}{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
