"""The controller of AutoLRS on a model whose losses are exactly exponential, so that every forecast can be computed."""

import dataclasses
import json
import math

import numpy as np
import pytest

from lrstudy import schedules
from lrstudy.study.autolrs import HISTORY, Trial, control, judge
from lrstudy.study.autolrs_stages import Settings, found_schedule, stage_plan, updates_spent
from lrstudy.study.errors import ConfigError, StudyError

SHARPNESS, FLOOR = 2.0, 0.25


@dataclasses.dataclass(frozen=True)
class Bowl:
    """Gradient descent on ``sharpness w^2 / 2 + floor``; its state is (updates, w).

    Attributes:
        breaks: rates from which on a run diverges after ``life`` updates.
        rises: rates above which the validation loss rises instead of falling.
        run_id: of what it stands for.
    """

    breaks: float = math.inf
    life: int = 0
    rises: float = math.inf
    calls: list = dataclasses.field(default_factory=list)
    saved: dict = dataclasses.field(default_factory=dict)
    run_id: str = "a1b2"

    def start(self):
        return 0, 1.0

    def run(self, state, rates, steps, evaluate_at):
        self.calls.append((state, tuple(rates), steps, tuple(evaluate_at)))
        return [self.trial(state, rate, steps, evaluate_at) for rate in rates]

    def trial(self, state, rate, steps, evaluate_at):
        step, w = state
        path = w * (1 - rate * SHARPNESS) ** np.arange(steps + 1)
        losses = SHARPNESS * path**2 / 2 + FLOOR
        if rate >= self.breaks:
            losses[self.life :] = np.nan
        validation = losses[list(evaluate_at)]
        if rate > self.rises:
            validation = losses[0] + np.arange(len(validation))
        return Trial((step + steps, float(path[-1])), losses[:-1], np.full(steps, rate), validation)

    def save(self, folder, step, state):
        self.saved[step] = state

    def restore(self, folder, up_to):
        steps = [step for step in self.saved if step <= up_to]
        return (max(steps), self.saved[max(steps)]) if steps else None


def settings_of(**fields):
    given = {"min_rate": 1e-3, "max_rate": 0.2, "total_steps": 300, "search_steps": 10, "max_stage_steps": 200}
    return Settings(**{**given, "smoothing": False, **fields})


# -- the plan ----------------------------------------------------------------------------------------------------------


def test_the_published_stages():
    """tau 1000, 2000, 4000, 8000 by training losses, then 8000 by validation losses; tau' a tenth of it."""
    plan = stage_plan(Settings(1e-3, 0.1, 31_000))
    assert plan == (
        ("train", 1000, 100),
        ("train", 2000, 200),
        ("train", 4000, 400),
        ("train", 8000, 800),
        ("validation", 8000, 800),
        ("validation", 8000, 800),
    )


@pytest.mark.parametrize(
    ("total", "stages"),
    [
        (10, [(10, 1)]),
        (19, [(19, 1)]),
        (299, [(100, 10), (199, 19)]),
        (300, [(100, 10), (200, 20)]),
        # Nine updates cannot try ten candidates: they belong to the stage before; ten can.
        (309, [(100, 10), (209, 20)]),
        (310, [(100, 10), (200, 20), (10, 1)]),
    ],
)
def test_the_last_stage_is_cut_to_what_is_left_and_takes_what_would_be_too_little(total, stages):
    assert [(steps, search) for _, steps, search in stage_plan(settings_of(total_steps=total))] == stages


@pytest.mark.parametrize("fields", [{}, {"search_steps": 100, "max_stage_steps": 8000}, {"search_steps": 1}])
@pytest.mark.parametrize("candidates", [1, 7, 10])
def test_the_search_never_has_more_updates_than_the_training(fields, candidates):
    for total in range(10, 3001):
        plan = stage_plan(settings_of(total_steps=total, candidates=candidates, **fields))
        assert sum(steps for _, steps, _ in plan) == total
        assert min(search for _, _, search in plan) >= 1
        searched = candidates * sum(search for _, _, search in plan)
        # Of every stage fewer than `candidates` updates are not divided among them.
        assert total - candidates * len(plan) < searched <= total


@pytest.mark.parametrize(("warmup", "total"), [(0, 10), (5, 15), (5, 21)])
def test_updates_spent_are_those_of_the_plan(warmup, total):
    settings = settings_of(total_steps=total, warmup_steps=warmup, search_steps=1)
    stages, _ = control(settings, Bowl())
    searched = 10 * sum(search for _, _, search in stage_plan(settings))
    assert updates_spent(stages) == total + searched <= 2 * total


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("min_rate", 0.0, "min_rate must be a positive number, got 0.0"),
        ("max_rate", 1e-3, "max_rate must be a number above min_rate, got 0.001"),
        ("max_rate", math.nan, "max_rate must be a number above min_rate, got nan"),
        ("total_steps", 9, "total_steps must be an int of at least warmup_steps + candidates (10), got 9"),
        ("search_steps", 0, "search_steps must be a positive int, got 0"),
        ("max_stage_steps", 0, "max_stage_steps must be a positive int, got 0"),
        ("warmup_steps", 291, "total_steps must be an int of at least warmup_steps + candidates (301), got 300"),
        ("candidates", 258, r"candidates must be in [1, 257], got 258"),
        ("warmup_steps", -1, "warmup_steps must be an int of at least 0, got -1"),
        ("warmup_rate", 0.0, "warmup_rate must be a positive number or none, got 0.0"),
        ("kappa", -1.0, "kappa must be a number of at least 0 or none, got -1.0"),
        ("batch", 3, "batch must be none or a divisor of candidates (10), got 3"),
    ],
)
def test_bad_settings_are_refused_in_one_line(field, value, text):
    with pytest.raises(ConfigError) as refused:
        settings_of(**{field: value})
    assert str(refused.value) == text


# -- search ------------------------------------------------------------------------------------------------------------


def test_forecasts_are_the_losses_that_training_on_would_reach_and_the_best_is_trained_on():
    """Rates whose losses fall by exp(-4 rate) a step: time constants below ten windows, the longest that are fitted."""
    bowl, settings = Bowl(), settings_of(min_rate=0.004, max_rate=0.02)
    stages, (updates, _) = control(settings, bowl)
    assert updates == 300
    first = stages[0]
    truth = SHARPNESS * (1 - np.asarray(first.rates) * SHARPNESS) ** (2 * first.steps) / 2 + FLOOR
    np.testing.assert_allclose(first.forecasts, truth, rtol=1e-5)
    assert first.chosen == first.rates[int(np.argmin(truth))] == 0.02
    for stage in stages:
        assert stage.chosen == stage.rates[int(np.argmin(stage.forecasts))]


def test_every_candidate_starts_from_the_stages_state_and_has_the_same_number_of_steps():
    bowl, settings = Bowl(), settings_of()
    stages, _ = control(settings, bowl)
    assert len(bowl.calls) == 2 * len(stages)
    for stage, searched, trained in zip(stages, bowl.calls[::2], bowl.calls[1::2], strict=True):
        assert searched[0] == trained[0]
        assert searched[0][0] == stage.start
        assert searched[1:3] == (stage.rates, stage.search_steps)
        assert trained[1:3] == ((stage.chosen,), stage.steps)
        assert len(set(stage.rates)) == 10
        assert stage.first_rates == stage.rates


def test_the_search_costs_what_the_training_costs():
    bowl, settings = Bowl(), settings_of()
    stages, _ = control(settings, bowl)
    made = sum(len(rates) * steps for _, rates, steps, _ in bowl.calls)
    assert made == updates_spent(stages) == 2 * settings.total_steps


def test_a_kappa_searches_one_by_one_or_in_batches_at_the_same_cost():
    for fields, calls in (({"kappa": 1.0}, 10), ({"kappa": 1.0, "batch": 5}, 2), ({"batch": 2}, 5)):
        bowl = Bowl()
        stages, _ = control(settings_of(total_steps=100, **fields), bowl)
        assert len(bowl.calls) == calls + 1
        assert updates_spent(stages) == 200
        assert len(set(stages[0].rates)) == 10
    greedy = control(settings_of(total_steps=100), Bowl())[0]
    assert control(settings_of(total_steps=100, batch=2), Bowl())[0] == greedy


def test_a_candidate_that_diverged_is_never_trained_on():
    bowl = Bowl(breaks=0.05)
    stages, _ = control(settings_of(), bowl)
    for stage in stages:
        assert [forecast is None for forecast in stage.forecasts] == [rate >= 0.05 for rate in stage.rates]
        assert stage.chosen < 0.05
    assert updates_spent(stages) == 600


def test_a_rate_that_diverges_only_in_training_gives_way_to_the_next_best_and_its_updates_are_counted():
    bowl = Bowl(breaks=0.05, life=15)
    stages, _ = control(settings_of(total_steps=100), bowl)
    [stage] = stages
    failed = sum(rate >= 0.05 for rate in stage.rates)
    assert failed > 0
    assert None not in stage.forecasts
    assert stage.chosen == max(rate for rate in stage.rates if rate < 0.05)
    assert stage.spent == 200 + 100 * failed


def test_nothing_left_to_train_with_is_one_line():
    with pytest.raises(StudyError, match="every rate of the stage at step 0 diverged; lower min_rate"):
        control(settings_of(), Bowl(breaks=0.0))
    with pytest.raises(StudyError, match=r"diverged in the warmup to rate 0\.2; lower warmup_rate"):
        control(settings_of(warmup_steps=5), Bowl(breaks=0.0))


# -- validation losses -------------------------------------------------------------------------------------------------


def test_after_the_longest_stage_candidates_are_judged_by_validation_losses():
    bowl, settings = Bowl(), settings_of(total_steps=1000, search_steps=20, max_stage_steps=400)
    stages, _ = control(settings, bowl)
    assert [(s.mode, s.steps) for s in stages] == [("train", 200), ("train", 400), ("validation", 400)]
    searched = bowl.calls[::2]
    assert [call[3] for call in searched[:2]] == [(), ()]
    # Every int(40 / 16) = 2 updates, the beginning included.
    assert searched[2][3] == tuple(range(0, 41, 2))


def trial(losses, validation):
    return Trial(None, np.asarray(losses, float), np.ones(len(losses)), np.asarray(validation, float))


def test_a_validation_loss_that_reaches_its_beginning_stands_for_the_forecast():
    falling = FLOOR + np.exp(-0.1 * np.arange(0, 41, 2))
    ones = np.ones(40)
    expected = FLOOR + math.exp(-40.0)
    assert judge(trial(ones, falling), 400, "validation", 2, smoothing=False) == pytest.approx(expected, rel=1e-5)
    bumped = falling.copy()
    bumped[5] = bumped[0]
    assert judge(trial(ones, bumped), 400, "validation", 2, smoothing=False) == bumped[-1]
    rising = falling[::-1]
    assert judge(trial(ones, rising), 400, "validation", 2) == rising[-1]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_any_loss_that_is_not_finite_rules_a_candidate_out(bad):
    ones, falling = np.ones(40), np.linspace(2, 1, 21)
    broken = np.where(np.arange(40) == 20, bad, ones)
    assert judge(trial(broken, ()), 400, "train", 2) == math.inf
    assert judge(trial(broken, falling), 400, "validation", 2) == math.inf
    assert judge(trial(ones, np.where(np.arange(21) == 20, bad, falling)), 400, "validation", 2) == math.inf


def test_rates_at_which_validation_rises_are_not_chosen():
    stages, _ = control(settings_of(total_steps=700), Bowl(rises=0.02))
    late = [stage for stage in stages if stage.mode == "validation"]
    assert late
    assert all(stage.chosen <= 0.02 for stage in late)


# -- resuming ----------------------------------------------------------------------------------------------------------


class KilledError(Exception):
    pass


def test_a_killed_controller_goes_on_from_the_last_stage(tmp_path):
    settings = settings_of(total_steps=180, candidates=5)
    whole, state = control(settings, Bowl())
    for after in range(2 * len(whole)):
        bowl, folder = Bowl(), tmp_path / str(after)
        folder.mkdir()
        original = bowl.run

        def run(*arguments, bowl=bowl, original=original, after=after):
            if len(bowl.calls) == after:
                raise KilledError
            return original(*arguments)

        object.__setattr__(bowl, "run", run)
        with pytest.raises(KilledError):
            control(settings, bowl, folder=folder)
        finished = after // 2
        again = Bowl(saved=bowl.saved)
        assert control(settings, again, folder=folder) == (whole, state)
        assert len(again.calls) == 2 * (len(whole) - finished)
        # Finished, it trains nothing.
        done = Bowl(saved=again.saved)
        assert control(settings, done, folder=folder) == (whole, state)
        assert not done.calls


def test_stages_whose_state_is_lost_are_made_again(tmp_path):
    settings = settings_of(total_steps=180, candidates=5)
    bowl = Bowl()
    whole = control(settings, bowl, folder=tmp_path)
    for lost in ([whole[0][-1].end], list(bowl.saved)):
        kept = {step: state for step, state in bowl.saved.items() if step not in lost}
        assert control(settings, Bowl(saved=kept), folder=tmp_path) == whole


def test_a_folder_of_other_settings_is_refused(tmp_path):
    control(settings_of(), Bowl(), folder=tmp_path)
    with pytest.raises(ConfigError, match="folder must be empty or hold stages of the same settings, got"):
        control(settings_of(seed=1), Bowl(), folder=tmp_path)


def test_a_folder_of_another_run_is_refused_and_left_as_it_is(tmp_path):
    control(settings_of(), Bowl(), folder=tmp_path)
    before = (tmp_path / HISTORY).read_text()
    other = Bowl(run_id="c3d4")
    message = f"folder must be empty or hold stages of run c3d4, got '{tmp_path}' with those of a1b2"
    with pytest.raises(ConfigError) as refused:
        control(settings_of(), other, folder=tmp_path)
    assert str(refused.value) == message
    assert not other.calls
    assert not other.saved
    assert (tmp_path / HISTORY).read_text() == before


def test_the_history_is_json_that_others_can_read(tmp_path):
    stages, _ = control(settings_of(), Bowl(breaks=0.05), folder=tmp_path)
    history = json.loads((tmp_path / HISTORY).read_text(), parse_constant=pytest.fail)
    assert len(history["stages"]) == len(stages)
    assert None in history["stages"][0]["forecasts"]


# -- the found schedule ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields", [{}, {"warmup_steps": 20, "warmup_rate": 0.03}, {"total_steps": 50}, {"warmup_steps": 290}]
)
def test_the_found_schedule_is_what_was_applied(fields):
    settings = settings_of(**fields)
    stages, _ = control(settings, Bowl())
    found = schedules.from_dict(json.loads(json.dumps(found_schedule(settings, stages).to_dict())))
    for stage in stages:
        steps = np.arange(stage.start, stage.end)
        expected = np.full(stage.steps, stage.chosen)
        if stage.mode == "warmup":
            expected = expected * (steps + 1) / settings.warmup_steps
        # One float32 rounding a factor of the schedule, at most as many as there are stages, and the product's own.
        np.testing.assert_allclose(np.asarray(found(steps), float), expected, rtol=(len(stages) + 1) * 2**-23)


def test_the_warmup_is_outside_the_search():
    bowl, settings = Bowl(), settings_of(warmup_steps=20, warmup_rate=0.03)
    stages, _ = control(settings, bowl)
    assert stages[0] == dataclasses.replace(
        stages[0], mode="warmup", start=0, steps=20, rates=(), spent=20, chosen=0.03
    )
    assert bowl.calls[0][:3] == ((0, 1.0), (0.03,), 20)
    assert stages[1].start == 20
    assert updates_spent(stages) == 20 + 2 * 280
