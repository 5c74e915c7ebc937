"""The optimizers that a study can name.

Sophia is none of them: its Hessian's diagonal needs the loss as a function of the parameters, and a step gives an
optimizer the loss's value alone.
"""

from lrstudy.optimizers import adaptive_rows, scheduled_rows
from lrstudy.optimizers.row import Optimizer

TABLE: dict[str, Optimizer] = dict(sorted({**scheduled_rows.ROWS, **adaptive_rows.ROWS}.items()))
