"""The models in plain NumPy, float64, one example at a time."""

import math

import numpy as np


def as_float64(tree):
    return {k: as_float64(v) if isinstance(v, dict) else np.asarray(v, np.float64) for k, v in tree.items()}


def norm(x, scale):
    """Layer normalisation without a bias; 1e-6 keeps the root away from zero (flax's default)."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * scale


def gelu(x):
    """The tanh form (Hendrycks & Gimpel 2016, section 2)."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def attention(x, params):
    """Every position in turn averages the values at itself and before."""
    out = np.zeros_like(x)
    query, key, value = np.einsum("tw,wkhd->khtd", x, params["qkv"]["kernel"])
    for head, t in np.ndindex(query.shape[:2]):
        scores = key[head, : t + 1] @ query[head, t] / math.sqrt(query.shape[-1])
        weights = np.exp(scores - scores.max())
        mixed = weights @ value[head, : t + 1] / weights.sum()
        out[t] += mixed @ params["out"]["kernel"][head]
    return out


def transformer(params, tokens, layers):
    params = as_float64(params)
    x = params["embedding"]["embedding"][tokens] + params["positions"][: len(tokens)]
    for layer in range(layers):
        block = params[f"block_{layer}"]
        x = x + attention(norm(x, block["attention_norm"]["scale"]), block["attention"])
        h = gelu(norm(x, block["feed_forward_norm"]["scale"]) @ block["up"]["kernel"])
        x = x + h @ block["down"]["kernel"]
    return norm(x, params["final_norm"]["scale"]) @ params["readout"]["kernel"]


def mlp(params, x, layers):
    params = as_float64(params)
    for layer in range(layers):
        dense = params[f"hidden_{layer}"]
        x = np.maximum(x @ dense["kernel"] + dense["bias"], 0)
    return x @ params["readout"]["kernel"] + params["readout"]["bias"]
