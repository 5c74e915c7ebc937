"""What the small commands beside an experiment share: one line on what is wrong, and a file to write."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from lrstudy import __version__
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.exit_codes import BAD_COMMAND, OK, RUN_FAILED


class Parser(argparse.ArgumentParser):
    """A command line whose mistakes are one line; ``--helpfull`` is its help too, as it is an experiment's.

    Args:
        module: what stands behind ``python -m``, or a command of ``lrstudy``, that word in front.
        description: first line of the help.
    """

    def __init__(self, module: str, description: str) -> None:
        # An abbreviated flag would change its meaning when a flag is added.
        prog = module if module.startswith("lrstudy ") else f"python -m {module}"
        super().__init__(prog=prog, description=description, allow_abbrev=False)
        self.add_argument("--helpfull", action="help", help="show this help message and exit")
        self.add_argument("--version", action="version", version=f"lrstudy {__version__}")

    def error(self, message: str) -> NoReturn:
        """Leaves with one line and the exit code of a bad command line."""
        print(f"error: {message}", file=sys.stderr)
        sys.exit(BAD_COMMAND)


def exit_code(act: Callable[[], None]) -> int:
    """Acts, and says in one line what was wrong with the command or went wrong; the exit code."""
    try:
        act()
    except ConfigError as error:
        code, line = BAD_COMMAND, error
    except (StudyError, OSError) as error:
        code, line = RUN_FAILED, error
    else:
        return OK
    print(f"error: {line}", file=sys.stderr)
    return code


def check_output(path: Path) -> None:
    """Refuses a path that cannot be written, before the work whose result it would hold.

    Raises:
        ConfigError: it is no file, or its folder is none that can be written.
    """
    if path.exists() and not path.is_file():
        raise ConfigError(f"output must be a file, got '{path}'")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(f"output must lie in a folder that is there and can be written, got '{path}'")


def leave_output() -> None:
    """After a ``BrokenPipeError``: whoever read has seen enough, and what is flushed at the end goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
