"""Data sets by name: those that were prepared below a folder, and those that TFDS can prepare. No network is asked."""

import difflib
import functools
import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

_GROUPS = (
    "audio",
    "d4rl",
    "graphs",
    "image",
    "image_classification",
    "nearest_neighbors",
    "object_detection",
    "question_answering",
    "ranking",
    "recommendation",
    "rl_unplugged",
    "rlds.datasets",
    "robomimic",
    "robotics",
    "structured",
    "summarization",
    "text",
    "text_simplification",
    "time_series",
    "translate",
    "video",
    "vision_language",
)


class Located(NamedTuple):
    """A data set.

    Attributes:
        builder: a ``tfds.core.DatasetBuilder``.
        prepared: whether its records are there.
        name: as it was asked for.
    """

    builder: Any
    prepared: bool
    name: str

    @property
    def full_name(self) -> str:
        """Name, config and version."""
        return self.builder.info.full_name

    @property
    def folder(self) -> Path:
        """Where its records are, or would be."""
        return Path(self.builder.data_dir)


def locate(name: str, data_dir: str) -> Located:
    """Finds a data set, first among the prepared ones, then in the catalogue.

    Args:
        name: ``name[/config][:version]``; without a version the newest that is prepared, else the catalogue's.
        data_dir: folder of prepared data sets; empty: TFDS' own default, which ``TFDS_DATA_DIR`` changes.

    Raises:
        ValueError: there is none of that name, config and version, or what is on disk cannot be read.
    """
    _check_installed()
    plain, wanted = _parsed(name)
    root = _root(data_dir)
    _register_catalogue()
    found = _from_files(name, plain, wanted, root)
    if found is not None:
        return Located(found, prepared=True, name=name)
    return Located(_from_catalogue(name, plain, wanted, root), prepared=False, name=name)


def how_to_prepare(located: Located) -> str:
    """The command that prepares a data set of the catalogue, and what it needs."""
    info = located.builder.info
    asked = "/".join(part for part in (info.name, info.config_name) if part)
    call = f"tfds.builder('{asked}:{info.version}', data_dir='{_data_dir_of(located)}', file_format='array_record')"
    command = f'python -c "import tensorflow_datasets as tfds; {call}.download_and_prepare()"'
    return (
        f"prepare it with: {command} (most builders of the catalogue need a network and the packages tensorflow and "
        "importlib_resources for that, in another environment; what is written there is read here without them)"
    )


def _data_dir_of(located: Located) -> str:
    """The folder of data sets that a builder's own folder lies in."""
    info = located.builder.info
    inner = 2 + bool(info.config_name)
    return str(located.folder.parents[inner - 1])


def _check_installed() -> None:
    """Refuses to look where there is nothing to look with.

    Raises:
        ValueError: a package is not installed.
    """
    for module, package in (("tensorflow_datasets", "tensorflow-datasets"), ("array_record", "array_record")):
        if importlib.util.find_spec(module) is None:
            raise ValueError(f"task must be another than tfds where {package} is not installed: pip install {package}")


def _parsed(name: str) -> tuple[str, dict[str, Any]]:
    """The plain name, and the config and version that were asked for."""
    from tensorflow_datasets.core import naming

    rule = "name[/config][:version], as TFDS spells data sets"
    try:
        parsed, wanted = naming.parse_builder_name_kwargs(name)
    except ValueError as error:
        raise ValueError(f"task.name must be {rule}, got {name!r}") from error
    if parsed.namespace or set(wanted) - {"config", "version"}:
        raise ValueError(f"task.name must be {rule}, without a namespace or other arguments, got {name!r}")
    return parsed.name, dict(wanted)


def _root(data_dir: str) -> Path:
    from tensorflow_datasets.core import constants

    try:
        return Path(data_dir or constants.DATA_DIR).expanduser()
    except RuntimeError as error:
        raise ValueError(f"task.data_dir must be a folder, got {data_dir!r}: {error}") from error


@functools.cache
def _register_catalogue() -> None:
    """Makes TFDS know its builders.

    TFDS imports them group by group, and no further once a group needs a package that is not there: the texts would be
    missing without h5py, which only robots need.
    """
    for group in _GROUPS:
        try:
            importlib.import_module(f"tensorflow_datasets.{group}")
        except ImportError:
            continue


def _from_files(name: str, plain: str, wanted: Mapping[str, Any], root: Path) -> Any:
    """The builder of a prepared data set; ``None`` where there is none."""
    from tensorflow_datasets.core import read_only_builder, registered

    try:
        return read_only_builder.builder_from_files(plain, data_dir=str(root), **wanted)
    except registered.DatasetNotFoundError:
        return None
    except Exception as error:
        raise ValueError(
            f"task.data_dir must hold a data set {name!r} that can be read, got '{root}': {error}"
        ) from error


def _from_catalogue(name: str, plain: str, wanted: Mapping[str, Any], root: Path) -> Any:
    """The builder of a data set that is not prepared."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import registered

    known = registered.list_imported_builders()
    if plain not in known:
        there = _prepared(root, plain)
        near = difflib.get_close_matches(plain, {*known, *_folders(root)}, n=3)
        hint = f"; prepared: {', '.join(there)}" if there else f"; nearest: {', '.join(near)}" if near else ""
        raise ValueError(f"task.name must be a data set of the TFDS catalogue or of '{root}', got {name!r}{hint}")
    configs = list(tfds.builder_cls(plain).builder_configs)
    if "config" in wanted and not configs:
        rule = f"{plain} without a config, and a version after a colon"
        raise ValueError(f"task.name must be {rule}, got {name!r}")
    if "config" in wanted and wanted["config"] not in configs:
        near = difflib.get_close_matches(str(wanted["config"]), configs, n=3)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise ValueError(f"task.name must name one of the {len(configs)} configs of {plain}, got {name!r}{hint}")
    try:
        return tfds.builder(plain, data_dir=str(root), file_format="array_record", **wanted)
    except (AssertionError, ImportError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"task.name must be a data set that TFDS can build, got {name!r}: {reason}") from error


def _folders(root: Path) -> list[str]:
    """Names of what may be data sets below a folder."""
    found = root.iterdir() if root.is_dir() else ()
    return [path.name for path in found if path.is_dir() and not path.name.startswith(".")]


def _prepared(root: Path, plain: str) -> list[str]:
    """What is prepared of a data set below a folder: its configs and versions."""
    found = [path.parent.relative_to(root) for path in (root / plain).glob("**/dataset_info.json")]
    return sorted(path.as_posix() for path in found)
