"""Flax linen modules, and the table of those that a configuration can name.

Adding a model is one new file and one row of ``TABLE``. The fields that a task decides (``vocabulary``, ``context``,
``outputs``) have no default; all others are hyperparameters with one, of which a parametrization decides
``attention_scale``, ``branch_scale`` and ``logit_scale``. ``spec_overrides`` tells it what shapes do not.
"""

import flax.linen as nn

from lrstudy.models.batch_norm import BatchNormMLP
from lrstudy.models.bias_free import BiasFreeMLP
from lrstudy.models.convnet import ConvNet
from lrstudy.models.mlp import MLP
from lrstudy.models.resnet import ResNet
from lrstudy.models.transformer import Transformer

TABLE: dict[str, type[nn.Module]] = {
    "batch_norm_mlp": BatchNormMLP,
    "bias_free_mlp": BiasFreeMLP,
    "convnet": ConvNet,
    "mlp": MLP,
    "resnet": ResNet,
    "transformer": Transformer,
}

__all__ = ["MLP", "TABLE", "BatchNormMLP", "BiasFreeMLP", "ConvNet", "ResNet", "Transformer"]
