"""TensorBoard's event files: what a run's scalars and hyperparameters look like in them.

An event is a protocol buffer; its length, both with a checksum, frames it. tensorboardX has the messages and the
checksum. Its own writers are threads with a queue, one a file, which a study of thousands of runs cannot have.
"""

import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lrstudy.study.errors import ConfigError

PREFIX = "events.out.tfevents."
FINAL = "final/"
"""Before the name of a final metric, which is no row."""
_VERSION = "brain.Event:2"
_PLUGIN, _EXPERIMENT = "hparams", "_hparams_/experiment"
_START, _END = "_hparams_/session_start_info", "_hparams_/session_end_info"


def check_library() -> None:
    """Refuses to write event files where the library is not there.

    Raises:
        ConfigError: it is not.
    """
    try:
        import tensorboardX  # noqa: F401 # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise ConfigError("tensorboard needs tensorboardX: pip install 'lrstudy[tensorboard]'") from error


def framed(events: Iterable[Any]) -> bytes:
    """Events as an event file holds them."""
    from tensorboardX.record_writer import masked_crc32c

    parts = []
    for event in events:
        data = event.SerializeToString()
        head = struct.pack("<Q", len(data))
        parts += [head, struct.pack("<I", masked_crc32c(head)), data, struct.pack("<I", masked_crc32c(data))]
    return b"".join(parts)


def scalars(columns: Mapping[str, np.ndarray], steps: Sequence[int], wall_time: float) -> list[Any]:
    """One event a row; what was not measured at its step is left out.

    Args:
        columns: metric name to one value a row.
        steps: of the rows.
        wall_time: of all of them, in seconds of the epoch.
    """
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    names = list(columns)
    rows = np.stack([np.asarray(columns[name], np.float32) for name in names], axis=1)
    measured = ~np.isnan(rows)
    events = []
    for step, values, own in zip(steps, rows.tolist(), measured.tolist(), strict=True):
        cells = zip(names, values, own, strict=True)
        summary = Summary(value=[Summary.Value(tag=n, simple_value=v) for n, v, is_there in cells if is_there])
        events.append(Event(wall_time=wall_time, step=int(step), summary=summary))
    return events


def session_start(leaves: Mapping[str, Any], wall_time: float) -> list[Any]:
    """The first events of a run: whatever was read of it before is void, and these are its hyperparameters, if any."""
    from tensorboardX.proto.event_pb2 import Event, SessionLog
    from tensorboardX.proto.plugin_hparams_pb2 import SessionStartInfo

    info = SessionStartInfo(start_time_secs=wall_time)
    for name, value in leaves.items():
        if isinstance(value, bool):
            info.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            info.hparams[name].number_value = value
        else:
            info.hparams[name].string_value = str(value)
    return [
        Event(wall_time=wall_time, file_version=_VERSION),
        Event(wall_time=wall_time, step=0, session_log=SessionLog(status=SessionLog.START)),
        *([_about(_START, wall_time, session_start_info=info)] if leaves else ()),
    ]


def session_end(metrics: Mapping[str, float], step: int, outcome: str, wall_time: float) -> list[Any]:
    """The last events of a run: its final metrics, and how it ended.

    Args:
        metrics: by name.
        step: updates made.
        outcome: ``ok``, or what else became of the run.
        wall_time: in seconds of the epoch.
    """
    from tensorboardX.proto.api_pb2 import Status
    from tensorboardX.proto.plugin_hparams_pb2 import SessionEndInfo

    status = Status.Value("STATUS_SUCCESS" if outcome == "ok" else "STATUS_FAILURE")
    ended = _about(_END, wall_time, session_end_info=SessionEndInfo(status=status, end_time_secs=wall_time))
    columns = {
        f"{FINAL}{name}": np.asarray([value], np.float32) for name, value in metrics.items() if value is not None
    }
    return [*(scalars(columns, [step], wall_time) if columns else ()), ended]


def experiment(leaves: Mapping[str, Any], metrics: Sequence[str], wall_time: float) -> list[Any]:
    """The events of a study: which hyperparameters and metrics its runs are compared by.

    Args:
        leaves: name to one of its values, which says of what type it is.
        metrics: names of final metrics.
        wall_time: in seconds of the epoch.
    """
    from tensorboardX.proto.api_pb2 import DataType, Experiment, HParamInfo, MetricInfo, MetricName
    from tensorboardX.proto.event_pb2 import Event

    infos = [HParamInfo(name=name, type=DataType.Value(_type_of(value))) for name, value in leaves.items()]
    judged = [MetricInfo(name=MetricName(tag=f"{FINAL}{name}"), display_name=name) for name in metrics]
    about = Experiment(hparam_infos=infos, metric_infos=judged)
    return [Event(wall_time=wall_time, file_version=_VERSION), _about(_EXPERIMENT, wall_time, experiment=about)]


def _type_of(value: Any) -> str:
    if isinstance(value, bool):
        return "DATA_TYPE_BOOL"
    return "DATA_TYPE_FLOAT64" if isinstance(value, int | float) else "DATA_TYPE_STRING"


def _about(tag: str, wall_time: float, **content: Any) -> Any:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
    from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata

    data = HParamsPluginData(version=0, **content).SerializeToString()
    plugin = SummaryMetadata.PluginData(plugin_name=_PLUGIN, content=data)
    value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))
    return Event(wall_time=wall_time, summary=Summary(value=[value]))


def replace_file(folder: Path, data: bytes) -> Path:
    """Makes this a folder's only event file, under a name that TensorBoard takes for a newer one.

    There are never two of them, whose rows would both be read: for a moment there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = sorted(folder.glob(f"{PREFIX}*"))
    number = max([time.time_ns() // 1000, *(_number(path) + 1 for path in before)])
    path = folder / f"{PREFIX}{number}.lrstudy"
    temporary = folder / f".writing-{number}"
    temporary.write_bytes(data)
    for old in (*before, *(p for p in folder.glob(".writing-*") if p != temporary)):
        old.unlink(missing_ok=True)
    temporary.replace(path)
    return path


def _number(path: Path) -> int:
    digits = path.name.removeprefix(PREFIX).partition(".")[0]
    return int(digits) if digits.isdigit() else 0


def is_complete(folder: Path) -> bool:
    """Whether a run's event file holds its end."""
    return any(_END.encode() in path.read_bytes() for path in folder.glob(f"{PREFIX}*"))
