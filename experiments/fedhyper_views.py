"""The figures of the FedHyper study, each drawn from records alone."""

from typing import TYPE_CHECKING

from experiments import fedhyper_claims as claims
from lrstudy.study.figures.style import COLOURS, band, bands, panels
from lrstudy.study.records import Records

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RATES = {claims.LOW_RATE: "local rate ten times too low", claims.GOOD_RATE: "good local rate"}


def accuracy(records: Records) -> "Figure":
    """Accuracy against the round: a column a local rate, a row an inner product."""
    figure, axes = panels(len(claims.PRODUCTS), len(_RATES), width=8.0)
    for row, product in zip(axes, claims.PRODUCTS, strict=True):
        for axis, (rate, title) in zip(row, _RATES.items(), strict=True):
            servers = {"FedAvg": claims.fedavg(records, rate)}
            servers |= {f"FedHyper-{kind}": claims.form(records, kind, product, rate) for kind in claims.FORMS}
            for (label, own), colour in zip(servers.items(), COLOURS, strict=False):
                curves = own.curves(claims.ACCURACY)
                band(axis, curves.index.to_numpy(), curves.to_numpy(), label, colour)
            axis.axhline(claims.TARGET, color="black", linewidth=0.6, linestyle=":")
            axis.set_title(f"{title}, {product} product", fontsize=9, loc="left")
            axis.set(xlabel="round", ylabel="validation accuracy")
    _legend(figure, records)
    return figure


def factors(records: Records) -> "Figure":
    """What each form multiplied its rate by in every round."""
    figure, axes = panels(len(claims.PRODUCTS), len(_RATES), width=8.0)
    for row, product in zip(axes, claims.PRODUCTS, strict=True):
        for axis, (rate, title) in zip(row, _RATES.items(), strict=True):
            # The colour of the same form in the figure of accuracies.
            for kind, colour in zip(claims.FORMS, COLOURS[1:], strict=False):
                server = kind in ("G", "GM")
                own = claims.form(records, kind, product, rate)
                curves = own.curves("learning_rate" if server else "client_learning_rate") / (1 if server else rate)
                band(axis, curves.index.to_numpy(), curves.to_numpy(), f"FedHyper-{kind}", colour)
            axis.set_yscale("log")
            axis.set_title(f"{title}, {product} product", fontsize=9, loc="left")
            axis.set(xlabel="round", ylabel="factor on the rate")
    _legend(figure, records)
    return figure


def _legend(figure: "Figure", records: Records) -> None:
    seeds = bands(records.part("").runs["seed"].nunique())
    handles = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, fontsize=8, title=seeds, title_fontsize=7)
