"""The decoder as this project trains it: its transformer, its step, its AdamW; several steps in one program."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.decoder_size import B1, B2, EMBEDDING_STD, EPS, LEARNING_RATE, WEIGHT_DECAY, Size
from lrstudy.models import Transformer
from lrstudy.optimizers import TABLE
from lrstudy.schedules import Constant
from lrstudy.training import TrainState, init_state, make_train_step


def model_of(size: Size, *, dtype: str = "bfloat16", kernel: str = "xla") -> Transformer:
    """The transformer of a size.

    Args:
        size: of the decoder.
        dtype: of its products.
        kernel: of its attention.
    """
    return Transformer(
        vocabulary=size.vocabulary,
        context=size.context,
        width=size.width,
        layers=size.layers,
        heads=size.heads,
        tied=True,
        embedding_std=EMBEDDING_STD,
        dtype=dtype,
        attention_kernel=kernel,
    )


def next_token_loss(model: Transformer, params: Any, tokens: Any) -> Any:
    """Mean cross-entropy of every token but the first, in nats.

    Args:
        model: the decoder.
        params: its parameters.
        tokens: sequences, (batch, context + 1).
    """
    logits = model.apply({"params": params}, tokens[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, 1:]).mean()  # pyright: ignore[reportArgumentType]


class JaxDecoder:
    """A decoder, its optimizer and the compiled steps.

    Args:
        size: of the decoder.
        tokens: of every step of a call, (steps, batch, context + 1).
        dtype: of its products.
        kernel: of its attention.
    """

    def __init__(self, size: Size, tokens: np.ndarray, *, dtype: str = "bfloat16", kernel: str = "xla") -> None:
        model = model_of(size, dtype=dtype, kernel=kernel)
        hparams = {"schedule": Constant(LEARNING_RATE)}

        def make_transform(hparams: Any) -> optax.GradientTransformation:
            build = TABLE["adamw"].build
            return build(hparams["schedule"], b1=B1, b2=B2, eps=EPS, weight_decay=WEIGHT_DECAY)

        def loss(params: Any, batch: Any) -> tuple[Any, dict[str, Any]]:
            return next_token_loss(model, params, batch), {}

        step = make_train_step(loss, make_transform)

        def steps(state: TrainState, tokens: Any, hparams: Any) -> tuple[TrainState, Any]:
            def one(k: Any, carry: tuple[TrainState, Any]) -> tuple[TrainState, Any]:
                state, losses = carry
                state, metrics = step(state, tokens[k], hparams, record=False)
                return state, losses.at[k].set(metrics["loss"])

            return jax.lax.fori_loop(0, len(tokens), one, (state, jnp.zeros(len(tokens))))

        def fresh() -> TrainState:
            params = model.init(jax.random.key(0), jnp.zeros((1, size.context), jnp.int32))["params"]
            return init_state(params, make_transform(hparams), jax.random.key(1))

        self._hparams, self._tokens = hparams, jax.device_put(tokens)
        self._state = jax.jit(fresh)()
        began = time.perf_counter()
        program = jax.jit(steps, donate_argnums=0).lower(self._state, self._tokens, hparams)
        self._steps = program.compile()
        self.compile_seconds = time.perf_counter() - began
        self.parameters = sum(leaf.size for leaf in jax.tree.leaves(self._state.params))
        self.device = jax.devices()[0].device_kind
        self.version = f"jax {jax.__version__}, attention by {kernel}"

    def __call__(self) -> list[float]:
        """Trains; gives the loss of every step."""
        self._state, losses = jax.block_until_ready(self._steps(self._state, self._tokens, self._hparams))
        return np.asarray(losses).tolist()

    def memory(self) -> int | None:
        """The most bytes that were in use; ``None`` where the device does not count them."""
        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
