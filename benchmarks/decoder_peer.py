"""One decoder in a process of its own, which trains whenever a line comes in.

Two frameworks in one process would share libraries and memory pools. Started by ``benchmarks.decoder``: the first line
out says what it is, every further one the seconds and losses of a call. All else that is printed goes to stderr.
"""

import json
import os
import sys
import time
from typing import Any

from benchmarks.decoder_size import SIZES, Size, draw_tokens


def peer_of(name: str, size: Size, tokens: Any, option: str) -> Any:
    """The decoder of a framework; ``option`` is JAX's kernel of attention, or whether PyTorch compiles."""
    if name == "jax":
        from benchmarks.decoder_jax import JaxDecoder

        return JaxDecoder(size, tokens, kernel=option)
    from benchmarks.decoder_torch import TorchDecoder

    return TorchDecoder(size, tokens, compiled=option == "compiled")


def parity(size: Size) -> dict[str, float]:
    """The loss of both decoders in float32 with the same parameters, on the CPU."""
    import jax
    import torch  # pyright: ignore[reportMissingImports]

    from benchmarks.decoder_jax import model_of, next_token_loss
    from benchmarks.decoder_torch import Decoder, load

    tokens = draw_tokens(size, 1, 2)[0]
    model = model_of(size, dtype="float32")
    params = jax.device_get(jax.jit(model.init)(jax.random.key(0), tokens[:, :-1])["params"])
    twin = Decoder(size, torch.float32)
    load(twin, params)
    with torch.no_grad():
        theirs = twin(torch.tensor(tokens, dtype=torch.int64)).item()
    return {"jax": float(jax.jit(next_token_loss, static_argnums=0)(model, params, tokens)), "torch": theirs}


def main() -> None:
    """Reads what to build from the command line, builds it and answers."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    name, size, batch, steps, option = sys.argv[1:]
    if name == "parity":
        print(json.dumps(parity(SIZES[size])), file=out)
        return
    peer = peer_of(name, SIZES[size], draw_tokens(SIZES[size], int(steps), int(batch)), option)
    facts = ("parameters", "compile_seconds", "device", "version")
    print(json.dumps({fact: getattr(peer, fact) for fact in facts}), file=out)
    for _ in sys.stdin:
        began = time.perf_counter()
        losses = peer()
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "losses": losses, "memory": peer.memory()}), file=out)


if __name__ == "__main__":
    main()
