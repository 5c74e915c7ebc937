"""The optimizers that a study can name."""

from lrstudy.optimizers import adaptive_rows, loss_rows, memory_rows, scheduled_rows
from lrstudy.optimizers.row import Optimizer

_ROOMS = (scheduled_rows, memory_rows, adaptive_rows, loss_rows)
TABLE: dict[str, Optimizer] = dict(sorted((name, row) for room in _ROOMS for name, row in room.ROWS.items()))
