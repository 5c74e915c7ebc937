"""The transformer of the text tasks in PyTorch, and the loop that people write around it."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np


def linear(torch: Any, kernels: list[Any], inputs: int) -> Any:
    """A layer without bias of these kernels of ours, side by side."""
    weight = np.concatenate([np.asarray(kernel).reshape(inputs, -1) for kernel in kernels], axis=1).T
    layer = torch.nn.Linear(inputs, len(weight), bias=False)
    layer.weight.data = torch.tensor(np.ascontiguousarray(weight))
    return layer


def norm(torch: Any, scale: Any) -> Any:
    """A layer norm without bias, with flax's epsilon."""
    layer = torch.nn.LayerNorm(scale.shape, eps=1e-6, bias=False)
    layer.weight.data = torch.tensor(np.asarray(scale))
    return layer


def transformer(torch: Any, params: Mapping[str, Any], heads: int) -> Any:
    """The model at our parameters; queries, keys and values are one product, as PyTorch's users write it."""
    functional = torch.nn.functional
    width = params["positions"].shape[1]

    class Block(torch.nn.Module):
        def __init__(self, own: Mapping[str, Any]) -> None:
            super().__init__()
            attention = own["attention"]
            self.attention_norm = norm(torch, own["attention_norm"]["scale"])
            self.qkv = linear(torch, [attention[name]["kernel"] for name in ("query", "key", "value")], width)
            self.out = linear(torch, [attention["out"]["kernel"]], width)
            self.feed_forward_norm = norm(torch, own["feed_forward_norm"]["scale"])
            self.up = linear(torch, [own["up"]["kernel"]], width)
            self.down = linear(torch, [own["down"]["kernel"]], own["down"]["kernel"].shape[0])

        def forward(self, x: Any) -> Any:
            batch, length, _ = x.shape
            qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, heads, -1)
            query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))
            mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
            hidden = functional.gelu(self.up(self.feed_forward_norm(x)), approximate="tanh")
            return x + self.down(hidden)

    class Transformer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = torch.nn.Embedding.from_pretrained(
                torch.tensor(np.asarray(params["embedding"]["embedding"])), freeze=False
            )
            self.positions = torch.nn.Parameter(torch.tensor(np.asarray(params["positions"])))
            layers = sum(name.startswith("block_") for name in params)
            self.blocks = torch.nn.Sequential(*(Block(params[f"block_{layer}"]) for layer in range(layers)))
            self.final_norm = norm(torch, params["final_norm"]["scale"])
            self.readout = linear(torch, [params["readout"]["kernel"]], width)

        def forward(self, tokens: Any, targets: Any) -> Any:
            x = self.embedding(tokens) + self.positions[: tokens.shape[1]]
            logits = self.readout(self.final_norm(self.blocks(x)))
            return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())

    return Transformer()


class Loop:
    """A model and its fused AdamW, and the plain loop that trains it.

    Attributes:
        name: of PyTorch's release.
    """

    def __init__(self, params: Any, heads: int, adamw: Mapping[str, float], train: Any, batch_size: int) -> None:
        """Takes over parameters of ours.

        Args:
            params: of the transformer.
            heads: of its attention.
            adamw: ``learning_rate``, ``b1``, ``b2``, ``eps`` and ``weight_decay``, which acts on all tensors.
            train: the bytes that windows are drawn from.
            batch_size: windows a step.

        Raises:
            ImportError: PyTorch is not installed.
        """
        self._torch: Any = importlib.import_module("torch")
        self.name = f"PyTorch {self._torch.__version__}"
        self._model = transformer(self._torch, jax.device_get(params), heads)
        self._plain = self._model
        self._optimizer = self._torch.optim.AdamW(
            self._model.parameters(),
            lr=adamw["learning_rate"],
            betas=(adamw["b1"], adamw["b2"]),
            eps=adamw["eps"],
            weight_decay=adamw["weight_decay"],
            fused=True,
        )
        self._train = self._torch.tensor(np.asarray(train))
        self._window = self._torch.arange(len(params["positions"]) + 1)
        self._batch_size = batch_size

    def compile(self) -> None:
        """From here on the model is a compiled one."""
        self._model = self._torch.compile(self._plain)

    def loss(self, batch: Any) -> float:
        """Of a batch of ours."""
        tokens = self._torch.tensor(np.asarray(batch)).long()
        with self._torch.no_grad():
            return float(self._plain(tokens[:, :-1], tokens[:, 1:]))

    def train(self, steps: int, threads: int) -> None:
        """So many updates on so many threads."""
        torch = self._torch
        torch.set_num_threads(threads)
        for _ in range(steps):
            starts = torch.randint(0, len(self._train) - len(self._window) + 1, (self._batch_size,))
            tokens = self._train[starts[:, None] + self._window].long()
            loss = self._model(tokens[:, :-1], tokens[:, 1:])
            self._optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self._optimizer.step()


def calls(loop: Loop, steps: int, threads: int) -> Callable[[], None]:
    """A call of so many updates, made once before."""

    def train() -> None:
        loop.train(steps, threads)

    train()
    return train
