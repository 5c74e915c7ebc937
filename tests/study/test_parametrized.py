"""Runs that name a parametrization: their configuration, their programs, and what they train."""

import dataclasses
import json

import numpy as np
import pytest

from lrstudy import optimizers
from lrstudy.study import records as records_lib
from lrstudy.study.choices import TABLES, choice
from lrstudy.study.config import RunConfig, has_argument, make_transform, resolve, with_value
from lrstudy.study.errors import ConfigError
from lrstudy.study.part import Part, axis
from lrstudy.study.plan import make_plan
from lrstudy.study.stored import config_from_json, config_to_json
from lrstudy.study.workdir import Workdir
from tests.study.studies import concluded
from tests.study.test_command import command, experiment

PLAIN = RunConfig(
    task=choice("task", "digits", batch_size=16),
    model=choice("model", "mlp", width=16, layers=1),
    schedule=choice("schedule", "Constant", peak=0.03),
    optimizer=choice("optimizer", "adamw", weight_decay=0.1),
    steps=6,
    record_every=1,
)
MUP = dataclasses.replace(PLAIN, parametrization=choice("parametrization", "mup", base_width=8))
TEXT = dataclasses.replace(
    MUP, task=choice("task", "text", context=8), model=choice("model", "transformer", width=16, heads=2)
)


def test_a_parametrization_is_part_of_a_runs_identity():
    columns = resolve(MUP).columns
    assert (columns["parametrization"], columns["parametrization.base_width"]) == ("mup", 8)
    assert columns["parametrization.form"] == "lib"
    assert not [name for name in resolve(PLAIN).columns if name.startswith("parametrization")]
    changes = [("parametrization", "sp"), ("parametrization.base_width", 4), ("parametrization.decay", "independent")]
    ids = {resolve(with_value(MUP, path, value)).run_id for path, value in changes}
    assert len(ids | {resolve(MUP).run_id, resolve(PLAIN).run_id}) == 5


def test_what_a_parametrization_decides_is_no_flag():
    run = resolve(TEXT)
    assert not {"model.attention_scale", "model.branch_scale", "model.logit_scale"} & set(run.columns)
    assert run.task.model.module.attention_scale == 4**-0.5 * 4 / 8
    assert not has_argument(TEXT, "model.attention_scale")


def test_a_stored_configuration_is_the_same_run():
    data = json.loads(json.dumps(config_to_json(MUP)))
    assert resolve(config_from_json(data)).run_id == resolve(MUP).run_id
    del data["parametrization"]
    assert resolve(config_from_json(data)).run_id == resolve(PLAIN).run_id


INDEPENDENT = with_value(MUP, "parametrization.decay", "independent")
NOAM = choice("schedule", "Noam", warmup_steps=3, model_width=8)
REFUSED = [
    (with_value(MUP, "parametrization.base_width", 0), "base_width must be an int of at least 1, got 0"),
    (with_value(TEXT, "parametrization.base_width", 9), "base_width must give a base model: model.heads"),
    (with_value(MUP, "parametrization.base_layers", 1), "base_layers must be left out: MLP has no branch_scale"),
    (dataclasses.replace(MUP, task=choice("task", "river"), model=None), "must be left out: task river has no model"),
    (with_value(MUP, "parametrization.alpha", float("nan")), "alpha must be finite, got nan"),
    (with_value(MUP, "optimizer", "adafactor"), "zero_readout and zero_query must be false for adafactor, unless"),
    (dataclasses.replace(INDEPENDENT, schedule=NOAM), "peak must be given for an independent decay under Noam"),
]


@pytest.mark.parametrize(("config", "message"), REFUSED)
def test_what_cannot_be_scaled_is_refused(config, message):
    with pytest.raises(ConfigError) as caught:
        resolve(config)
    assert message in str(caught.value)


def test_an_argument_of_no_parametrization_is_refused():
    with pytest.raises(ConfigError, match=r"parametrization\.base_width must be left out: no parametrization is named"):
        with_value(PLAIN, "parametrization.base_width", 8)


@pytest.mark.parametrize("name", TABLES["parametrization"])
@pytest.mark.parametrize("optimizer", [name for name, row in optimizers.TABLE.items() if row.scaled])
def test_every_optimizer_goes_with_every_parametrization(name, optimizer):
    # What starts at zero has no size for Adafactor to follow.
    starts = {"zero_readout": False, "zero_query": False} if optimizer == "adafactor" else {}
    scaling = choice("parametrization", name, base_width=8, **starts)
    run = resolve(dataclasses.replace(MUP, optimizer=choice("optimizer", optimizer), parametrization=scaling))
    assert make_transform(run, run.hyperparameters)


def test_runs_of_one_program_share_their_parametrization():
    """Coupled and independent decay have the same numbers, parameters and state, and are two programs."""
    axes = [
        axis("parametrization", ("sp", "mup")),
        axis("parametrization.decay", ("coupled", "independent")),
        axis("schedule.peak", (0.01, 0.02, 0.03)),
        axis("seed", (0, 1)),
    ]
    plan = make_plan({"": Part(MUP, axes)})
    assert sorted(len(group.runs) for group in plan.groups) == [6, 6, 6, 6]
    for group in plan.groups:
        assert len({run.parametrization[0] for run in group.runs}) == 1


def test_the_command_line_names_sweeps_and_sets_it():
    study = experiment(**{"": Part(PLAIN)})
    flags = [
        "--sweep.parametrization=sp,mup",
        "--config.parametrization.base_width=8",
        "--config.parametrization.form=t3",
    ]
    found = list(command(study, *flags).parts[""].configs())
    assert [c.parametrization.name for c in found] == ["sp", "mup"]
    assert [c.parametrization.arguments for c in found] == [{"base_width": 8}, {"base_width": 8, "form": "t3"}]


def losses(root, *configs):
    """The recorded losses of each configuration, trained in one study."""
    parts = {f"p{i}": Part(config) for i, config in enumerate(configs)}
    concluded(root, chosen=parts)
    found = records_lib.load(Workdir(root))
    return [found.part(name).metrics.sort_values("step")["loss"].to_numpy() for name in parts]


def test_at_the_base_width_a_run_is_the_plain_run_bit_for_bit(tmp_path):
    own = choice("parametrization", "mup", base_width=16, zero_readout=False)
    named, at_zero = dataclasses.replace(PLAIN, parametrization=own), with_value(MUP, "parametrization.base_width", 16)
    plain, scaled, zero = losses(tmp_path, PLAIN, named, at_zero)
    np.testing.assert_array_equal(plain, scaled)
    # With a readout of zeros every class is as likely: ln 10 to float32.
    assert zero[0] == pytest.approx(np.log(10), rel=2e-7)
    assert zero[0] != plain[0]


def test_forms_of_one_parametrization_train_one_path(tmp_path):
    """The study's own float32: three losses that differ by roundings, and a standard run that does not."""
    forms = [with_value(MUP, "parametrization.form", form) for form in ("lib", "t3", "t9")]
    lib, t3, t9, sp = losses(tmp_path, *forms, with_value(MUP, "parametrization", "sp"))
    # Six Adam updates turn roundings of 6e-8 into some 1e-6 where gradients pass zero.
    np.testing.assert_allclose(t3, lib, rtol=0, atol=2e-5)
    np.testing.assert_allclose(t9, lib, rtol=0, atol=2e-5)
    assert np.abs(sp - lib).max() > 1e-2
