"""``lrstudy``: one command for the studies, and for what is done with their folders.

Nothing heavy is imported before a command is known to need it: to list the studies their files are read, not run.
"""

import ast
import dataclasses
import functools
import importlib
import importlib.util
import runpy
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lrstudy import __version__
from lrstudy.study.arguments import Parser, leave_output
from lrstudy.study.errors import ConfigError, StudyError, one_of
from lrstudy.study.exit_codes import BAD_COMMAND, OK, RUN_FAILED

EXPERIMENTS = "experiments"
STUDIES = "studies"
_HELP = ("--help", "-h", "--helpfull")


@dataclasses.dataclass(frozen=True)
class _Command:
    """A row of the table of commands.

    Attributes:
        usage: what stands behind the name.
        says: one line of the help.
        act: what follows the name to the exit code.
    """

    usage: str
    says: str
    act: Callable[[Sequence[str]], int]


@dataclasses.dataclass(frozen=True)
class Study:
    """What a binary of ``experiments`` says of itself.

    Attributes:
        title: one line.
        paper: what it reproduces; empty for none.
    """

    title: str
    paper: str = ""


def studies() -> dict[str, Study]:
    """Every binary of ``experiments`` by its name.

    Raises:
        StudyError: the package is not there.
    """
    found = importlib.util.find_spec(EXPERIMENTS)
    folders = list(found.submodule_search_locations or ()) if found else []
    paths = sorted(path for folder in folders for path in Path(folder).glob("[!_]*.py"))
    read = {path.stem: _study_of(path) for path in paths}
    named = {name: study for name, study in read.items() if study is not None}
    if not named:
        raise StudyError(f"the package {EXPERIMENTS!r}, which lrstudy is installed with, is not there")
    return named


def _study_of(path: Path) -> Study | None:
    """What a file says; ``None`` if it is no binary."""
    text = path.read_text(encoding="utf-8")
    if '\nif __name__ == "__main__":' not in text:
        return None
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Experiment":
            given = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
            if "paper" in given:
                return Study(str(given["title"]), str(given["paper"]))
    return Study(_first_line(ast.get_docstring(tree)))


def _first_line(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0].rstrip(".")


def _rows_of(room: str) -> dict[str, tuple[str, str]]:
    """The rows of a room's table: name to one line and where it comes from."""
    module = importlib.import_module(f"lrstudy.{room}")
    if room == "laws":
        named = {name: getattr(module, name) for name in module.__all__}
        table = {name: own for name, own in named.items() if isinstance(own, type) and hasattr(own, "predict")}
    else:
        table = module.TABLE
    return {name: _row(own) for name, own in table.items()}


def _row(own: Any) -> tuple[str, str]:
    if not isinstance(own, type):
        return own.paper, ""  # of an optimizer
    return _first_line(own.__doc__), ""


def _study_rows() -> dict[str, tuple[str, str]]:
    return {name: (study.title, study.paper) for name, study in studies().items()}


KINDS: Mapping[str, Callable[[], Mapping[str, tuple[str, str]]]] = {
    STUDIES: _study_rows,
    **{room: functools.partial(_rows_of, room) for room in ("schedules", "optimizers", "tasks", "models", "laws")},
    "parametrizations": functools.partial(_rows_of, "parametrization"),
}


def _list(arguments: Sequence[str]) -> int:
    """Prints what there is of one kind."""
    parser = Parser("lrstudy list", COMMANDS["list"].says)
    parser.add_argument("kind", nargs="?", default=STUDIES, help=", ".join(KINDS))
    kind = parser.parse_args(arguments).kind
    if kind not in KINDS:
        raise one_of("kind", kind, KINDS)
    print("\n".join(_lines(KINDS[kind]())))
    return OK


def _lines(rows: Mapping[str, tuple[str, str]]) -> Iterable[str]:
    """A name and what is said of it, wrapped on a terminal and in one line elsewhere."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    column = max(map(len, rows), default=0) + 2
    for name, texts in rows.items():
        if width < 2 * column:
            yield f"{name:<{column}}{' - '.join(filter(None, texts))}"
            continue
        lines = [line for text in texts for line in textwrap.wrap(text, width - column)] or [""]
        yield from (f"{head:<{column}}{line}" for head, line in zip([name, *[""] * len(lines)], lines, strict=False))


def _run(arguments: Sequence[str]) -> int:
    """Runs a study as ``python -m experiments.<name>`` does."""
    if arguments and arguments[0] in _HELP:
        rows = {name: (study.title, "") for name, study in studies().items()}
        print("usage: lrstudy run STUDY [flags]; lrstudy run STUDY --helpfull lists its flags", *_lines(rows), sep="\n")
        return OK
    if not arguments or arguments[0].startswith("-"):
        raise ConfigError(f"run must name a study first: {', '.join(studies())}")
    name, *flags = arguments
    if name not in studies():
        raise one_of("study", name, studies())
    return _become(f"{EXPERIMENTS}.{name}", flags)


def _become(module: str, arguments: Sequence[str]) -> int:
    """Runs a module as the program; it leaves with its own exit code."""
    # What lies in the current folder can be named, such as a submission of the benchmark, and hides nothing.
    sys.path.append(str(Path.cwd()))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return OK


def _report(arguments: Sequence[str]) -> int:
    """Makes the report of a folder again, or one that compares two folders."""
    from lrstudy.study.workdir import Workdir, read_json

    parser = Parser("lrstudy report", COMMANDS["report"].says)
    parser.add_argument("folder", nargs="?", type=Path, help="of a study")
    parser.add_argument("--compare", metavar="DIR1,DIR2", help="two folders, whose runs are compared")
    parser.add_argument("--out", type=Path, default=Path("comparison"), help="folder of the comparison (%(default)s)")
    given, flags = parser.parse_known_args(arguments)
    if given.compare is not None:
        return _compare(given, flags)
    if given.folder is None:
        raise ConfigError("report must be given a study's folder")
    workdir = Workdir(given.folder)
    header = read_json(workdir.config) if workdir.plan.is_file() else None
    if header is None:
        raise ConfigError(f"report must be given a study's folder, got '{workdir.root}'")
    if header.get("experiment") not in studies():
        raise one_of(f"experiment of {workdir.config}", str(header.get("experiment")), studies())
    return _become(f"{EXPERIMENTS}.{header['experiment']}", [f"--workdir={workdir.root}", "--report_only", *flags])


def _compare(given: Any, flags: Sequence[str]) -> int:
    folders = [Path(part) for part in given.compare.split(",")]
    if len(folders) != 2 or given.folder is not None:
        raise ConfigError(f"compare must be two folders, DIR1,DIR2, got {given.compare!r}")
    if flags:
        raise ConfigError(f"unexpected argument {flags[0]!r}")
    made = importlib.import_module("lrstudy.study.compare").compare(*folders, given.out)
    print(f"report: {made}")
    return OK


def _module(name: str, arguments: Sequence[str]) -> int:
    """The small command of a module."""
    return importlib.import_module(f"lrstudy.study.{name}").main(arguments)


COMMANDS: Mapping[str, _Command] = {
    "list": _Command("[kind]", f"what there is: {', '.join(KINDS)}", _list),
    "run": _Command("STUDY [flags]", "train and report a study; --help lists its flags", _run),
    "show": _Command(
        "DIR [flags]", "how a study stands, while it runs or afterwards", functools.partial(_module, "show")
    ),
    "report": _Command("DIR", "make claims, figures and report of a folder again; --compare=DIR1,DIR2", _report),
    "tensorboard": _Command(
        "DIR", "write a study's records as TensorBoard's event files", functools.partial(_module, "tensorboard")
    ),
    "fit_laws": _Command("[flags]", "fit laws to files of loss curves", functools.partial(_module, "fit_laws")),
    "refine": _Command(
        "[flags]", "a schedule from the gradient norms of a finished run", functools.partial(_module, "refine")
    ),
    "extrapolator": _Command(
        "[flags]", "train the network that early_stop asks", functools.partial(_module, "extrapolator")
    ),
    "build_text_dataset": _Command(
        "[flags]", "make a TFDS data set of a folder of texts", functools.partial(_module, "build_text_dataset")
    ),
    "gallery": _Command("[flags]", "draw every schedule", functools.partial(_module, "figures.gallery")),
}


def _help() -> str:
    rows = {f"{name} {command.usage}": (command.says, "") for name, command in COMMANDS.items()}
    return "\n".join(
        [
            f"lrstudy {__version__}: optimizer and learning-rate-schedule studies in JAX",
            "",
            "usage: lrstudy <command> ...",
            "",
            *(f"  {line}" for line in _lines(rows)),
            "",
            "for example:",
            "  lrstudy run river_valley --preset=smoke --workdir=runs/valley",
            "  lrstudy show runs/valley --watch",
            "",
            "lrstudy <command> --help says more. Exit codes: 0 done, 1 a run failed, 2 bad command line,",
            "3 a claim does not hold, 75 stopped after saving.",
        ]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    try:
        return _act(name, rest)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_COMMAND
    except BrokenPipeError:
        leave_output()
        return OK
    except (StudyError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return RUN_FAILED
    except KeyboardInterrupt:
        return RUN_FAILED


def _act(name: str, rest: Sequence[str]) -> int:
    if name in (*_HELP, "help"):
        print(_help(), flush=True)
    elif name == "--version":
        print(f"lrstudy {__version__}")
    elif name in COMMANDS:
        code = COMMANDS[name].act(rest)
        sys.stdout.flush()
        return code
    else:
        raise one_of("command", name, COMMANDS)
    return OK
