"""Trains with microsoft/mup and writes what it did into the fixture: ``python -m tests.parametrization.record_mup``.

Needs the extra ``peers``. The weights of ``mup_problem`` are copied in before ``set_base_shapes``, which then
multiplies the readout's kernel and bias, and the bias of ``fc1``, by the square root of their fan-in's multiplier.
"""

import collections
import json

from tests.parametrization.mup_problem import (
    BASE_WIDTH,
    CLASSES,
    FEATURES,
    FIXTURE,
    RULES,
    STEPS,
    WIDTHS,
    batches,
    torch_weights,
)


def network(width):
    """A torch module in mup's parametrization, float64."""
    import mup
    import torch

    def plain(n):
        layers = collections.OrderedDict(
            fc0=torch.nn.Linear(FEATURES, n),
            act0=torch.nn.ReLU(),
            fc1=torch.nn.Linear(n, n),
            act1=torch.nn.ReLU(),
            out=mup.MuReadout(n, CLASSES),
        )
        return torch.nn.Sequential(layers).double()

    model = plain(width)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in torch_weights(width).items()})
    return mup.set_base_shapes(model, plain(BASE_WIDTH), delta=plain(2 * BASE_WIDTH))


def factors(model, optimizer):
    """Tensor to its factors on the learning rate and on the decay, of an optimizer whose own are 1."""
    groups = [(group["lr"], group["weight_decay"], group["params"]) for group in optimizer.param_groups]
    found = {id(p): [rate, decay] for rate, decay, params in groups for p in params}
    return {name: found[id(p)] for name, p in model.named_parameters()}


def train(width, rule):
    """Losses before each update, and every tensor's root mean square before the first and after the last."""
    import mup
    import torch

    build = {"adam": mup.MuAdam, "adamw": mup.MuAdamW, "sgd": mup.MuSGD}[rule]
    model = network(width)

    def sizes():
        return {name: float(p.detach().square().mean().sqrt()) for name, p in model.named_parameters()}

    start, losses = sizes(), []
    optimizer = build(model.parameters(), lr=RULES[rule]["learning_rate"], weight_decay=RULES[rule]["weight_decay"])
    for pixels, labels in zip(*batches(), strict=True):
        optimizer.zero_grad()
        scores = model(torch.from_numpy(pixels))
        loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels).long())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses, "start": start, "end": sizes()}


def tables(width):
    """Per tensor factors on (rate, decay) of Adam and of SGD, and the readout's factor in the forward pass."""
    import mup

    model = network(width)
    built = {
        "adam": mup.MuAdamW(model.parameters(), lr=1.0, weight_decay=1.0),
        "sgd": mup.MuSGD(model.parameters(), lr=1.0, weight_decay=1.0),
    }
    rows = {name: factors(model, optimizer) for name, optimizer in built.items()}
    return {**rows, "forward": {"out.weight": 1 / model.out.width_mult()}}


def record():
    """Everything that the parity test compares with."""
    from importlib.metadata import version

    import torch

    torch.set_num_threads(1)
    return {
        "versions": {name: version(name) for name in ("mup", "torch", "numpy")},
        "steps": STEPS,
        "tables": {str(width): tables(width) for width in WIDTHS},
        "runs": {rule: {str(width): train(width, rule) for width in WIDTHS} for rule in RULES},
    }


def main():
    """Writes the fixture."""
    FIXTURE.parent.mkdir(exist_ok=True)
    found = record()
    FIXTURE.write_text(json.dumps(found) + "\n")
    for rule, widths in found["runs"].items():
        ends = [f"{width}: {run['losses'][0]:.6f} -> {run['losses'][-1]:.6f}" for width, run in widths.items()]
        print(rule, *ends, sep="  ")


if __name__ == "__main__":
    main()
