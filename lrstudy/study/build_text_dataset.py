"""``python -m lrstudy.study.build_text_dataset``: a folder of texts in, a TFDS data set out, without a network.

python -m lrstudy.study.build_text_dataset --source=FOLDER --data_dir=DIR --name=NAME

Every text file below the folder becomes an example with its relative path and its text, in the splits train and
validation, stored as array_record. A study trains on it with --config.task=tfds --config.task.name=NAME
--config.task.data_dir=DIR. The same folder gives the same bytes. A build that was stopped or killed leaves nothing that
looks finished, and the same command starts over; one that is finished is left as it is, and one of another folder under
the same name is replaced with --overwrite alone.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from lrstudy.study.arguments import exit_code
from lrstudy.study.errors import ConfigError
from lrstudy.study.exit_codes import STOPPED


def _flags() -> flags.FlagValues:
    values = flags.FlagValues()
    flags.DEFINE_string("source", None, "folder of texts", flag_values=values)
    flags.DEFINE_string("data_dir", None, "folder of data sets, made if it is not there", flag_values=values)
    flags.DEFINE_string("name", None, "of the data set: lower case, digits and underscores", flag_values=values)
    flags.DEFINE_list(
        "suffixes", [], "of the files that are taken, .txt,.md; all texts if left out", flag_values=values
    )
    flags.DEFINE_float("validation_fraction", 0.1, "share of the files that are held out", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "replace another data set of that name", flag_values=values)
    for name in ("help", "helpfull"):
        flags.DEFINE_bool(name, False, "show this help and leave", flag_values=values)
    return values


def _parsed(argv: Sequence[str]) -> flags.FlagValues:
    """The flags of a command line.

    Raises:
        ConfigError: one line on what is wrong.
    """
    values = _flags()
    try:
        left = values(["build_text_dataset", *argv])
    except flags.Error as error:
        raise ConfigError(" ".join(str(error).split())) from error
    if len(left) > 1:
        raise ConfigError(f"unexpected argument {left[1]!r}: flags begin with --")
    if not (values.help or values.helpfull):
        for name in ("source", "data_dir", "name"):
            if not values[name].value:
                raise ConfigError(f"{name} must be given: --{name}=...")
    return values


def _check_outside(data_dir: Path, source: Path) -> None:
    """Refuses a folder of data sets whose files would be among the texts of the next build.

    Raises:
        ConfigError: it is inside the folder of texts.
    """
    if data_dir.resolve().is_relative_to(source.resolve()):
        raise ConfigError(f"data_dir must be outside of the folder of texts, got '{data_dir}' in '{source}'")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    try:
        return exit_code(lambda: _run(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        print("stopped; the same command starts over", file=sys.stderr)
        return STOPPED


def _run(argv: Sequence[str]) -> None:
    given = _parsed(argv)
    if given.help or given.helpfull:
        print(f"{(__doc__ or '').strip()}\n{given.get_help()}")
        return
    from lrstudy.study.text_folder import TextFolder, build

    source, data_dir = Path(given.source), Path(given.data_dir)
    _check_outside(data_dir, source)
    folder = TextFolder.read(source, tuple(given.suffixes), given.validation_fraction)
    print(build(folder, data_dir, given.name, overwrite=given.overwrite))


if __name__ == "__main__":
    sys.exit(main())
