"""The optimizers that a study can name."""

from lrstudy.optimizers import adaptive_rows, loss_rows, scheduled_rows
from lrstudy.optimizers.row import Optimizer

TABLE: dict[str, Optimizer] = dict(sorted({**scheduled_rows.ROWS, **adaptive_rows.ROWS, **loss_rows.ROWS}.items()))
