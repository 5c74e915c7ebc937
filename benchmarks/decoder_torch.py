"""The same decoder as one writes it in PyTorch: fused projections, autocast, fused AdamW, ``torch.compile``."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as functional  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from benchmarks.decoder_size import B1, B2, EMBEDDING_STD, EPS, LEARNING_RATE, WEIGHT_DECAY, Size

NORM_EPS = 1e-6
"""flax's."""


class Block(nn.Module):
    """Causal attention and a feed-forward layer, each after a norm and around a residual."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width = size.width
        self.heads = size.heads
        self.attention_norm = nn.LayerNorm(width, eps=NORM_EPS, bias=False)
        self.feed_forward_norm = nn.LayerNorm(width, eps=NORM_EPS, bias=False)
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Any) -> Any:
        """Applies the two branches to (batch, seq, width)."""
        batch, length, width = x.shape
        projected = self.project(self.attention_norm(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        hidden = functional.gelu(self.up(self.feed_forward_norm(x)), approximate="tanh")
        return x + self.down(hidden)


class Decoder(nn.Module):
    """The decoder, and its loss.

    Args:
        size: of it.
        dtype: of the residual stream; products are in autocast's.
    """

    def __init__(self, size: Size, dtype: Any) -> None:
        super().__init__()
        self.dtype = dtype
        self.embedding = nn.Embedding(size.vocabulary, size.width)
        self.positions = nn.Parameter(torch.empty(size.context, size.width))
        self.blocks = nn.ModuleList([Block(size) for _ in range(size.layers)])
        self.norm = nn.LayerNorm(size.width, eps=NORM_EPS, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                looked_up = name in ("embedding.weight", "positions")
                nn.init.normal_(parameter, std=EMBEDDING_STD if looked_up else parameter.shape[1] ** -0.5)

    def forward(self, tokens: Any) -> Any:
        """Mean cross-entropy of every token but the first, in nats, of (batch, seq + 1)."""
        x = (self.embedding(tokens[:, :-1]) + self.positions[: tokens.shape[1] - 1]).to(self.dtype)
        for block in self.blocks:
            x = block(x)
        logits = functional.linear(self.norm(x), self.embedding.weight)
        return functional.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())


def load(decoder: Decoder, params: Mapping[str, Any]) -> None:
    """Gives the decoder the parameters of this project's transformer.

    Args:
        decoder: is changed.
        params: of the transformer, as NumPy arrays.
    """

    def put(parameter: Any, value: Any) -> None:
        parameter.data.copy_(torch.tensor(np.asarray(value)).reshape(parameter.shape))

    put(decoder.embedding.weight, params["embedding"]["embedding"])
    put(decoder.positions, params["positions"])
    put(decoder.norm.weight, params["final_norm"]["scale"])
    for layer, block in enumerate(decoder.blocks):
        own: Any = params[f"block_{layer}"]
        attention, width = own["attention"], decoder.positions.shape[1]
        projections = [
            np.asarray(attention[name]["kernel"]).reshape(width, width).T for name in ("query", "key", "value")
        ]
        put(block.project.weight, np.concatenate(projections))
        put(block.out.weight, np.asarray(attention["out"]["kernel"]).reshape(width, width).T)
        for name in ("up", "down"):
            put(getattr(block, name).weight, np.asarray(own[name]["kernel"]).T)
        for name in ("attention_norm", "feed_forward_norm"):
            put(getattr(block, name).weight, own[name]["scale"])


class TorchDecoder:
    """A decoder, its optimizer and the compiled loss.

    Args:
        size: of the decoder.
        tokens: of every step of a call, (steps, batch, context + 1).
        compiled: whether ``torch.compile`` is used.
    """

    def __init__(self, size: Size, tokens: np.ndarray, *, compiled: bool = True) -> None:
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(0)
        torch.set_float32_matmul_precision("high")
        decoder = Decoder(size, torch.bfloat16).to(self._device)
        self._optimizer = torch.optim.AdamW(
            decoder.parameters(), lr=LEARNING_RATE, betas=(B1, B2), eps=EPS, weight_decay=WEIGHT_DECAY, fused=True
        )
        self._loss: Any = torch.compile(decoder) if compiled else decoder
        self._tokens = torch.tensor(tokens, dtype=torch.int64, device=self._device)
        began = time.perf_counter()
        self._step(self._tokens[0])
        self._wait()
        self.compile_seconds = time.perf_counter() - began
        self.parameters = sum(parameter.numel() for parameter in decoder.parameters())
        self.device = torch.cuda.get_device_name() if self._device == "cuda" else "cpu"
        self.version = f"torch {torch.__version__}{', compiled' if compiled else ''}"

    def _step(self, tokens: Any) -> Any:
        with torch.autocast(self._device, dtype=torch.bfloat16):
            loss = self._loss(tokens)
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _wait(self) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()

    def __call__(self) -> list[float]:
        """Trains; gives the loss of every step."""
        losses = torch.stack([self._step(tokens) for tokens in self._tokens])
        self._wait()
        return losses.tolist()

    def memory(self) -> int | None:
        """The most bytes that were in use; ``None`` where the device does not count them."""
        return torch.cuda.max_memory_allocated() if self._device == "cuda" else None
