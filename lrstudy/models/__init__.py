"""Flax linen modules, and the table of those that a configuration can name.

Adding a model is one new file and one row of ``TABLE``. The fields that a task decides (``vocabulary``, ``context``,
``outputs``) have no default; all others are hyperparameters with one.
"""

import flax.linen as nn

from lrstudy.models.mlp import MLP
from lrstudy.models.transformer import Transformer

TABLE: dict[str, type[nn.Module]] = {"mlp": MLP, "transformer": Transformer}

__all__ = ["MLP", "TABLE", "Transformer"]
