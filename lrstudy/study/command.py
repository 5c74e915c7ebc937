"""The command line of an experiment: every leaf of its configuration is a flag, and every leaf can be swept."""

import dataclasses
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from lrstudy.study import choices
from lrstudy.study.choices import KINDS, Argument, Choice
from lrstudy.study.config import PLAIN_FIELDS, default_model
from lrstudy.study.derived import Parts, static_parts
from lrstudy.study.errors import ConfigError, one_of
from lrstudy.study.experiment import Experiment
from lrstudy.study.grid import parse_values, read_list
from lrstudy.study.part import Axis, Part, axis

CONFIG, SWEEP = "config.", "sweep."
MODULE = "lrstudy configuration"
"""Where absl lists the flags of leaves."""
_MOST_NEAR = 3


@dataclasses.dataclass(frozen=True)
class Command:
    """What a command line asks for.

    Attributes:
        preset: its name.
        parts: of the preset, with the user's values and axes in place; what follows from records has none of its own.
    """

    preset: str
    parts: Parts


class _LeafParser(flags.ArgumentParser):
    """Reads one value of one leaf."""

    def __init__(self, argument: Argument) -> None:
        super().__init__()
        self._argument = argument
        self.syntactic_help = f"{_type_name(argument)}"

    def parse(self, argument: str) -> Any:
        return parse_leaf(self._argument, argument)

    def flag_type(self) -> str:
        return _type_name(self._argument)


class _NameParser(flags.ArgumentParser):
    """Reads the name of a row of a table."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self._kind = kind
        self.syntactic_help = f"one of {sorted(choices.TABLES[kind])}"

    def parse(self, argument: str) -> str:
        if argument not in choices.TABLES[self._kind]:
            raise ValueError(str(one_of(self._kind, argument, choices.TABLES[self._kind])))
        return argument

    def flag_type(self) -> str:
        return "name"


class _SweepParser(flags.ArgumentParser):
    """Reads a list of values of one leaf or name."""

    syntactic_help = "v1,v2,... or lo:hi:n or lo:hi:n:log"

    def __init__(self, one: flags.ArgumentParser) -> None:
        super().__init__()
        self._one = one

    def parse(self, argument: Any) -> Any:
        return parse_values(argument, self._one.parse)

    def flag_type(self) -> str:
        return "list"


def parse_leaf(argument: Argument, text: str) -> Any:
    """A leaf's value from text; a list may be read from a file, ``@FILE`` (see ``grid.read_list``).

    Raises:
        ValueError: the text is no such value.
    """
    if argument.optional and text.lower() == "none":
        return None
    if argument.type is bool:
        return flags.BooleanParser().parse(text)
    if argument.type is str:
        return text
    if argument.type in (int, float):
        try:
            return argument.type(text)
        except ValueError as error:
            raise ValueError(f"{_type_name(argument)} is needed, got {text!r}") from error
    items = read_list(Path(text[1:])) if text.startswith("@") else text.split(",")
    return tuple(parse_leaf(argument.item(), item) for item in items)


def _type_name(argument: Argument) -> str:
    names = {int: "an int", float: "a number", str: "text", bool: "true or false"}
    many = {int: "ints", float: "numbers", str: "texts", bool: "true or false"}
    name = names.get(argument.type) or f"{many[argument.item().type]} separated by commas, or @FILE"
    return f"{name} or none" if argument.optional else name


def define_flags(experiment: Experiment, argv: Sequence[str], values: flags.FlagValues) -> None:
    """Defines the flags that this command line can use.

    Which leaves there are depends on the classes that the command line names, so its choices are read first.

    Raises:
        ConfigError: an unknown preset.
    """
    early = dict(_early(argv))
    preset = early.get("preset", "cpu")
    for name, part in static_parts(_preset_parts(experiment, preset)).items():
        prefix = f"{name}." if name else ""
        for path, leaf in _leaves(part, prefix, early).items():
            parser = _NameParser(path) if leaf is None else _LeafParser(leaf)
            default = "" if leaf is None else _default_text(part, path, leaf)
            _define(values, f"{CONFIG}{prefix}{path}", parser, default)
            _define(values, f"{SWEEP}{prefix}{path}", _SweepParser(parser), "")
    for short, path in experiment.aliases.items():
        for kind in (CONFIG, SWEEP):
            _define(values, f"{kind}{short}", values[f"{kind}{path}"].parser, f"; short for {path}")


def read_command(experiment: Experiment, values: flags.FlagValues) -> Command:
    """The command that parsed flags express."""
    parts = dict(_preset_parts(experiment, values.preset))
    for name, part in static_parts(parts).items():
        prefix = f"{name}." if name else ""
        fixed = _given(values, f"{CONFIG}{prefix}", experiment, name)
        sweeps: dict[str, Axis] = {
            path: axis(path, found) for path, found in _given(values, f"{SWEEP}{prefix}", experiment, name).items()
        }
        parts[name] = part.overridden(fixed, sweeps)
    return Command(values.preset, parts)


def _preset_parts(experiment: Experiment, preset: str) -> Parts:
    if preset not in experiment.presets:
        raise one_of("preset", preset, experiment.presets)
    return experiment.presets[preset]()


def _early(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Flag name to text for every ``--name=text`` and ``--name text``."""
    for position, token in enumerate(argv):
        if token.startswith("-"):
            name, equals, text = token.lstrip("-").partition("=")
            if not equals and position + 1 < len(argv):
                text = argv[position + 1]
            yield name, text


def _leaves(part: Part, prefix: str, early: Mapping[str, str]) -> dict[str, Argument | None]:
    """Path to argument for every leaf of every class that the part or the command line names; ``None`` for a choice."""
    leaves: dict[str, Argument | None] = dict(PLAIN_FIELDS)
    task_names = _names(part, "task", prefix, early)
    for kind in KINDS:
        names = _names(part, kind, prefix, early)
        if kind == "model" and not names:
            tasks = (dataclasses.replace(part.base, task=Choice(t)) for t in task_names if t in choices.TABLES["task"])
            names = [model.name for model in map(default_model, tasks) if model]
        leaves[kind] = None
        for name in names:
            if name in choices.TABLES[kind]:
                leaves |= {f"{kind}.{a}": argument for a, argument in choices.arguments_of(kind, name).items()}
    return leaves


def _names(part: Part, kind: str, prefix: str, early: Mapping[str, str]) -> list[str]:
    if f"{CONFIG}{prefix}{kind}" in early:
        return [early[f"{CONFIG}{prefix}{kind}"]]
    if f"{SWEEP}{prefix}{kind}" in early:
        return re.split("[,;]", early[f"{SWEEP}{prefix}{kind}"])
    base = getattr(part.base, kind)
    swept = [a[kind] for own in part.axes for a in own if kind in a]
    found = [*([base] if base and not swept else []), *swept]
    names = [c if isinstance(c, str) else c.name for c in found]
    return list(dict.fromkeys(names)) or [name for own, name in choices.IMPLIED.items() if own == kind]


def _default_text(part: Part, path: str, leaf: Argument) -> str:
    kind, _, argument = path.partition(".")
    if not argument:
        return f"; default {getattr(part.base, kind)}"
    current = getattr(part.base, kind)
    if current is not None and argument in current.arguments:
        return f"; default {current.arguments[argument]}"
    return "" if leaf.default is dataclasses.MISSING else f"; default {leaf.default}"


def _define(values: flags.FlagValues, name: str, parser: flags.ArgumentParser, default: str) -> None:
    text = f"{parser.syntactic_help}{default}"
    flags.DEFINE(parser, name, None, text, values, module_name=MODULE)


def _given(values: flags.FlagValues, prefix: str, experiment: Experiment, part: str) -> dict[str, Any]:
    """Path to value for every flag of one part that the command line set."""
    others = {f"{prefix}{name}." for name in experiment.presets[values.preset]() if name and not part}
    long = {f"{kind}{short}": f"{kind}{path}" for short, path in experiment.aliases.items() for kind in (CONFIG, SWEEP)}
    found = {}
    for flag in values:
        name = long.get(flag, flag)
        if name.startswith(prefix) and values[flag].present and not name.startswith(tuple(others)):
            found[name.removeprefix(prefix)] = values[flag].value
    return found


def parse(experiment: Experiment, argv: Sequence[str], values: flags.FlagValues) -> list[str]:
    """Defines and parses the flags.

    Args:
        experiment: whose command line it is.
        argv: with the program's name first.
        values: where the flags live.

    Returns:
        What is left over, the program's name first.

    Raises:
        ConfigError: one line on what is wrong.
    """
    try:
        define_flags(experiment, argv[1:], values)
        left = values(list(argv))
    except flags.UnrecognizedFlagError as error:
        # absl compares beginnings, which a study of many parts has by the hundred.
        near = difflib.get_close_matches(error.flagname, list(values), n=_MOST_NEAR)
        raise ConfigError(str(flags.UnrecognizedFlagError(error.flagname, suggestions=near))) from error
    except flags.Error as error:
        raise ConfigError(" ".join(str(error).split())) from error
    if len(left) > 1:
        raise ConfigError(f"unexpected argument {left[1]!r}: flags begin with --")
    return left
