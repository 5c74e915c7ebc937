"""Several texts in one run: which of them a batch is drawn from changes from stage to stage."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lrstudy.tasks import corpus
from lrstudy.tasks.base import Batch, Data, Metrics, Params, data_key
from lrstudy.tasks.windows import ByteWindows

_DOMAIN_STREAM = 1


class MixedText(ByteWindows):
    """Predicts the next byte of windows whose text, the domain, is drawn anew for each by the shares of the stage.

    Two corpora in sequence, rehearsal of the first during the second (Ibrahim et al. 2024, arXiv 2403.08763) and the
    upsampling of a domain at the end of training are all this task at different numbers: stages and shares are lane
    fields, so that they are lanes of one program. With all shares 0 the batches are those of ``Text`` on the first
    path.

    Attributes:
        paths: one text for each domain; see ``corpus.read``.
        boundaries: the steps at which the second and every later stage begins, increasing.
        shares: stage after stage the share of the windows that each domain but the first has, in [0, 1]; what is left
            of 1 is the first domain's. Of two domains: the second one's share, one number for each stage.
    """

    lane_fields = ("boundaries", "shares")

    paths: tuple[str, ...] = (corpus.TOPICS, corpus.CODE)
    boundaries: tuple[int, ...] = (500,)
    shares: tuple[float, ...] = (0.0, 1.0)

    def __post_init__(self) -> None:
        """Checks the sizes, stages and shares.

        Raises:
            ValueError: a size below one, a factor that is none, fewer than two domains, steps that do not increase, a
                wrong number of shares, or shares that are none.
        """
        super().__post_init__()
        if len(self.paths) < 2:
            raise ValueError(f"task.paths must be two texts or more, got {self.paths!r}")
        if any(later <= earlier for earlier, later in zip((0, *self.boundaries), self.boundaries, strict=False)):
            raise ValueError(f"task.boundaries must be positive and increasing, got {self.boundaries!r}")
        others, stages = len(self.paths) - 1, len(self.boundaries) + 1
        if len(self.shares) != stages * others:
            rule = f"{stages * others} numbers, for each of {stages} stages {others}"
            raise ValueError(f"task.shares must be {rule}, got {self.shares!r}")
        table = np.reshape(np.asarray(self.shares, np.float64), (stages, others))
        # A sum of decimal shares may exceed 1 by its rounding alone.
        if not ((table >= 0) & (table.sum(axis=1, keepdims=True) <= 1 + 1e-9)).all():
            rule = "in [0, 1], in every stage 1 together at most"
            raise ValueError(f"task.shares must be {rule}, got {self.shares!r}")

    def corpora(self) -> tuple[corpus.Corpus, ...]:
        """The texts.

        Raises:
            ValueError: one is unreadable, or too short for one window in each part, or they are too long together.
        """
        texts = tuple(self.read(path, f"task.paths[{place}]") for place, path in enumerate(self.paths))
        size = sum(text.size for text in texts)
        if size > corpus.MAX_BYTES:
            rule = f"texts of at most {corpus.MAX_BYTES} bytes together"
            raise ValueError(f"task.paths must be {rule}, got {self.paths!r} of {size}")
        return texts

    def facts(self) -> Mapping[str, Any]:
        """The texts' digests and sizes."""
        texts = self.corpora()
        return {"sha256": [text.sha256 for text in texts], "bytes": [text.size for text in texts]}

    def load(self) -> Data:
        """All training bytes end to end, where each domain's begin, how many it has, and its validation windows.

        The windows have shape (domains, windows, context + 1), as many as the shortest text has.
        """
        texts = self.corpora()
        sizes = np.asarray([text.train.size for text in texts], np.int32)
        count = min(map(self.validation_count, texts))
        return {
            "train": np.concatenate([text.train for text in texts]),
            "begins": np.cumsum(sizes, dtype=np.int32) - sizes,
            "sizes": sizes,
            "validation": np.stack([self.spaced_windows(text.validation, count) for text in texts]),
        }

    def stage_shares(self, step: Int[Array, ""]) -> Float[Array, " domains"]:
        """The share of every domain at a step."""
        others, stages = len(self.paths) - 1, len(self.boundaries) + 1
        table = jnp.reshape(jnp.asarray(self.shares, float), (stages, others))
        boundaries = jnp.asarray(self.boundaries, jnp.int32).reshape(stages - 1)
        own = table[jnp.sum(boundaries <= step)]
        return jnp.concatenate([1 - jnp.sum(own, keepdims=True), own])

    def domains(self, seed: Int[Array, ""], step: Int[Array, ""]) -> Int[Array, " batch"]:
        """The domain of every window of a batch."""
        key = jax.random.fold_in(data_key(seed, step), _DOMAIN_STREAM)
        uniform = jax.random.uniform(key, (self.batch_size, 1))
        later = jnp.cumsum(self.stage_shares(step)[:0:-1])
        return jnp.sum(uniform < later, axis=1)

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """Windows of bytes, uint8 of shape (batch, context + 1)."""
        domains = self.domains(seed, step)
        begins, sizes = jnp.asarray(data["begins"])[domains], jnp.asarray(data["sizes"])[domains]
        starts = jax.random.randint(data_key(seed, step), (self.batch_size,), 0, sizes - self.context)
        return self.windows_at(jnp.asarray(data["train"]), begins + starts)

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Mean cross-entropy over each domain's validation windows, and the mean over domains, in nats.

        The ``logit_metrics`` are those of all windows.
        """
        windows = jnp.asarray(data["validation"])
        alike = windows.reshape(-1, windows.shape[-1])
        means = jnp.mean(self.window_losses(params, alike).reshape(windows.shape[:2]), axis=1)
        own = {f"validation_loss_{domain}": means[domain] for domain in range(len(self.paths))}
        return {"validation_loss": jnp.mean(means), **own, **self.logit_metrics(params, alike)}
