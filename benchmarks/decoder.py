"""Tokens a second and model FLOPs utilisation of a decoder in bfloat16, beside the same one in compiled PyTorch.

python -m benchmarks.decoder [--size=124M] [--batch_size=0] [--steps=10] [--repeats=7]

Parameters, gradients and AdamW's moments are float32; products and activations bfloat16. ``decoder_size`` says what is
counted. The two take turns, each in a process of its own; without PyTorch, ours is measured alone.
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

from absl import app, flags

from benchmarks.decoder_size import SIZES, peak_of
from benchmarks.timing import ratios, record, table

SIZE = flags.DEFINE_enum("size", "124M", list(SIZES), "of the decoder")
BATCH = flags.DEFINE_integer("batch_size", 0, "sequences a step; 0: as memory allows", lower_bound=0)
STEPS = flags.DEFINE_integer("steps", 10, "steps of a call", lower_bound=1)
REPEATS = flags.DEFINE_integer("repeats", 7, "interleaved repeats", lower_bound=1)
COMPILE = flags.DEFINE_bool("torch_compile", True, "whether PyTorch compiles")

MOST_SEQUENCES = 64
BYTES_PER_TOKEN = 2_000_000
"""What a token of the 124M needs at most while it trains: its logits and their gradient in both types, 0.6 MB, and a
hundred numbers of the width a layer."""
SHARE = 0.45
"""Of the memory, for each of the two."""
OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "OutOfMemoryError", "out of memory")


class PeerError(RuntimeError):
    """A decoder's process ended; the message is the last that it said."""


class Peer:
    """A decoder's process.

    Args:
        name: ``jax``, ``torch`` or ``parity``.
        size: row of ``SIZES``.
        batch: sequences a step.
        option: see ``decoder_peer``.
        env: of the process, beside this one's.

    Raises:
        PeerError: it could not be built.
    """

    def __init__(self, name: str, size: str, batch: int, option: str, env: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "benchmarks.decoder_peer", name, size, str(batch), str(STEPS.value), option]
        self._errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self._process = subprocess.Popen(
            command,
            env={**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.calls: list[dict[str, Any]] = []
        try:
            self.facts = self._answer()
        except PeerError:
            self.close()
            raise

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read()
        found = [line for line in said.splitlines() if any(reason in line for reason in OUT_OF_MEMORY)]
        last = [line for line in said.splitlines() if line.strip()][-1:]
        raise PeerError((found or last or [f"ended with {self._process.returncode}"])[0].strip()[:300])

    def train(self) -> None:
        """One call."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what it said when it ended is in the answer
            print("go", file=self._process.stdin, flush=True)
        self.calls.append(self._answer())

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def memory() -> int | None:
    """Bytes of the first GPU; ``None``: there is none to ask."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]) * 2**20
    except (OSError, ValueError, IndexError, subprocess.CalledProcessError):
        return None


def batch_size() -> int:
    """The batch size that is asked for, or the largest power of two that should fit twice."""
    if BATCH.value:
        return BATCH.value
    tokens = SHARE * (memory() or 16 * 2**30) / BYTES_PER_TOKEN
    fitting = int(tokens / SIZES[SIZE.value].context)
    return min(MOST_SEQUENCES, 1 << max(0, fitting.bit_length() - 1))


def ours(batch: int) -> Peer:
    """Ours, by cuDNN's attention on a GPU where that works."""
    if memory() is not None or "cuda" in os.environ.get("JAX_PLATFORMS", ""):
        try:
            return Peer("jax", SIZE.value, batch, "cudnn")
        except PeerError as error:
            if any(reason in str(error) for reason in OUT_OF_MEMORY):
                raise
            print(f"attention by cuDNN does not work here, by XLA instead: {error}")
    return Peer("jax", SIZE.value, batch, "xla")


def theirs(batch: int) -> Peer | None:
    """PyTorch's; ``None``, and a line that says why, where it cannot be built."""
    for option in ("compiled", "eager") if COMPILE.value else ("eager",):
        try:
            return Peer("torch", SIZE.value, batch, option)
        except PeerError as error:
            if any(reason in str(error) for reason in OUT_OF_MEMORY):
                raise
            print(f"PyTorch's decoder, {option}, cannot be built: {error}")
    return None


@contextlib.contextmanager
def decoders(batch: int) -> Iterator[dict[str, Peer]]:
    """Both, built one after the other so that neither disturbs what the other's compiler times."""
    built: dict[str, Peer] = {}
    try:
        built["lrstudy"] = ours(batch)
        other = theirs(batch)
        if other is not None:
            built["PyTorch"] = other
        yield built
    finally:
        for peer in built.values():
            peer.close()


def measured(batch: int) -> tuple[int, dict[str, Peer]]:
    """The decoders after their calls, at the batch size or the largest half of it that fits."""
    while True:
        try:
            with decoders(batch) as peers:
                for turn in range(REPEATS.value + 1):
                    for peer in peers.values():
                        peer.train()
                        if not turn:
                            peer.calls.clear()  # the first call of all warms up
                return batch, peers
        except PeerError as error:
            if batch == 1 or not any(reason in str(error) for reason in OUT_OF_MEMORY):
                raise
            batch //= 2
            print(f"out of memory, {batch} sequences a step instead")


def same_loss() -> dict[str, float] | None:
    """The loss of both at one point, on the CPU in float32; ``None``: PyTorch is not there."""
    try:
        peer = Peer("parity", "tiny", 2, "", {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""})
    except PeerError as error:
        print(f"losses at equal parameters are not compared: {error}")
        return None
    peer.close()
    return peer.facts


def main(argv: list[str]) -> None:
    """Measures and records."""
    del argv
    size, parity = SIZES[SIZE.value], same_loss()
    batch, peers = measured(batch_size())
    seconds = {name: [call["seconds"] for call in peer.calls] for name, peer in peers.items()}
    rows, numbers = [], {}
    for name, peer in peers.items():
        assert peer.facts["parameters"] == size.parameters, "the two decoders must be of one size"
        rate = STEPS.value * batch * size.context / statistics.median(seconds[name])
        peak, held = peak_of(peer.facts["device"]), peer.calls[-1]["memory"]
        own = {
            "tokens_per_second": rate,
            "mfu": rate * size.flops_per_token / peak if peak else None,
            "ms_per_step": 1000 * statistics.median(seconds[name]) / STEPS.value,
            "seconds_of_lrstudy_over_own": statistics.median(
                a / b for a, b in zip(seconds["lrstudy"], seconds[name], strict=True)
            ),
            "peak_bytes": held,
            "first_loss": peer.calls[0]["losses"][0],
            "last_loss": peer.calls[-1]["losses"][-1],
            **peer.facts,
        }
        numbers[name] = own
        ratio, low, high = ratios(seconds[name], seconds["lrstudy"])
        rows.append(
            [
                f"{name} ({peer.facts['version']})",
                f"{rate:,.0f}",
                f"{100 * own['mfu']:.1f}%" if own["mfu"] else "not known",
                f"{own['ms_per_step']:.1f}",
                f"{ratio:.3f} ({low:.3f} to {high:.3f})",
                f"{held / 2**30:.1f}" if held else "not counted",
                f"{peer.facts['compile_seconds']:.0f}",
                f"{own['first_loss']:.2f}, {own['last_loss']:.2f}",
            ]
        )
    columns = (
        "who",
        "tokens/s",
        "MFU",
        "ms a step",
        "time over ours",
        "peak GiB",
        "compiled in s",
        "loss, first, last",
    )
    title = f"{size.parameters:,} parameters, tied, {batch} x {size.context} tokens a step, {REPEATS.value} repeats"
    body = table(title, columns, rows) + f"\n{size.flops_per_token:,} FLOP a token: 6 N + 12 L W T.\n"
    if parity:
        body += f"Loss of both in float32 with the same parameters: {parity['jax']:.6f} and {parity['torch']:.6f}.\n"
    whole = {"parameters": size.parameters, "flops_per_token": size.flops_per_token, "batch_size": batch}
    record("decoder", "A decoder in bfloat16", body, {**whole, "same_loss": parity, "measured": numbers})


if __name__ == "__main__":
    app.run(main)
