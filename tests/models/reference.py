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


def rotated(x):
    """Both halves of the last axis as one complex number, turned by the position (the second to last axis)."""
    half = x.shape[-1] // 2
    angles = np.arange(x.shape[-2])[:, None] / 10_000 ** (np.arange(half) / half)
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag], axis=-1)


def attention(x, params, model):
    """Every position in turn averages the values at itself and before; also the logits, zero where they are hidden."""
    query, key, value = (np.einsum("tw,whd->htd", x, params[name]["kernel"]) for name in ("query", "key", "value"))
    if model.qk_norm:
        query, key = norm(query, params["q_norm"]["scale"]), norm(key, params["k_norm"]["scale"])
    if model.rotary:
        query, key = rotated(query), rotated(key)
    scale = 1 / math.sqrt(query.shape[-1]) if model.attention_scale is None else model.attention_scale
    out, logits = np.zeros_like(x), np.zeros((len(query), len(x), len(x)))
    for head, t in np.ndindex(query.shape[:2]):
        shared = head * len(key) // len(query)
        scores = key[shared, : t + 1] @ query[head, t] * scale
        logits[head, t, : t + 1] = scores
        weights = np.exp(scores - scores.max())
        mixed = weights @ value[shared, : t + 1] / weights.sum()
        out[t] += mixed @ params["out"]["kernel"][head]
    return out, logits


def block(x, params, model):
    """A block's result, and its attention logits."""
    logits = []

    def attend(h):
        mixed, own = attention(h, params["attention"], model)
        logits.append(own)
        return mixed

    def feed_forward(h):
        return gelu(h @ params["up"]["kernel"]) @ params["down"]["kernel"]

    for name, branch in (("attention", attend), ("feed_forward", feed_forward)):
        scale = params[f"{name}_norm"]["scale"]
        if model.norm == "post":
            x = norm(x + model.branch_scale * branch(x), scale)
        else:
            h = branch(norm(x, scale))
            if model.norm == "peri":
                h = norm(h, params[f"{name}_out_norm"]["scale"])
            x = x + model.branch_scale * h
    return x, logits[0]


def layer_params(params, model, layer):
    if not model.scan_layers:
        return params[f"block_{layer}"]

    def own(tree):
        return {k: own(v) if isinstance(v, dict) else v[layer] for k, v in tree.items()}

    return own(params["blocks"])


def transformer(params, tokens, model):
    """The logits, and the attention logits of every block."""
    params = as_float64(params)
    table = params["embedding"]["embedding"]
    x = table[tokens] + (0 if model.rotary else params["positions"][: len(tokens)])
    attention_logits = []
    for layer in range(model.layers):
        x, own = block(x, layer_params(params, model, layer), model)
        attention_logits.append(own)
    if model.norm != "post":
        x = norm(x, params["final_norm"]["scale"])
    readout = model.logit_scale * table.T if model.tied else params["readout"]["kernel"]
    return x @ readout, attention_logits


def mlp(params, x, layers, normed=False):
    params = as_float64(params)
    for layer in range(layers):
        dense = params[f"hidden_{layer}"]
        x = x @ dense["kernel"] + dense["bias"]
        x = np.maximum(norm(x, 1) if normed else x, 0)
    return x @ params["readout"]["kernel"] + params["readout"]["bias"]


def convolution(image, kernel):
    """Every pixel is the product of the kernel with the 3 x 3 pixels around, which are zero outside of the image."""
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    out = np.zeros((*image.shape[:2], kernel.shape[-1]))
    for line, column in np.ndindex(image.shape[:2]):
        out[line, column] = np.einsum("ijc,ijco->o", padded[line : line + 3, column : column + 3], kernel)
    return out


def pooled(image):
    """The mean of every 2 x 2 pixels; a last odd line is left out."""
    lines, columns = (n // 2 for n in image.shape[:2])
    return np.stack(
        [[image[2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((0, 1)) for j in range(columns)] for i in range(lines)]
    )


def convnet(params, pixels, model):
    params = as_float64(params)
    x = pixels.reshape(model.side, model.side, 1)
    for layer in range(2):
        conv = params[f"conv_{layer}"]
        x = pooled(np.maximum(convolution(x, conv["kernel"]) + conv["bias"], 0))
    return x.ravel() @ params["readout"]["kernel"] + params["readout"]["bias"]


def resnet(params, pixels, model):
    params = as_float64(params)
    x = convolution(pixels.reshape(model.side, model.side, 1), params["stem"]["kernel"])
    for number in range(model.layers):
        own, h = params[f"block_{number}"], x
        for layer in range(2):
            rectified = np.maximum(norm(h, own[f"norm_{layer}"]["scale"]), 0)
            h = convolution(rectified, own[f"conv_{layer}"]["kernel"])
        x = x + model.branch_scale * h
    x = np.maximum(norm(x, params["final_norm"]["scale"]), 0)
    return x.mean((0, 1)) @ params["readout"]["kernel"] + params["readout"]["bias"]
