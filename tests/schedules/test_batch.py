"""How rates and batches follow each other."""

import pytest

from lrstudy.schedules import ScheduleError, adam_from_batch, batch_size_warmup, lr_from_batch, steps_from_tokens

# From 256 to 2048 examples at rate 0.1, to nine digits.
RATES = {"sqrt": 0.282842712, "linear": 0.8}
GROWN = (32, 512, 4e9, 32)
BATCHES = {0: 32, 1e8: 32, 1e9: 128, 2e9: 256, 3.9e9: 480, 4e9: 512, 9e12: 512}


@pytest.mark.parametrize("rule", RATES)
def test_golden_rates(rule):
    assert lr_from_batch(0.1, 2048, 256, rule=rule) == pytest.approx(RATES[rule], rel=2e-9)


def test_adam_scales_all_of_its_numbers():
    # The rule itself, by hand: k = 4.
    scaled = adam_from_batch(1e-3, 4, 1, b1=0.9, b2=0.95, eps=1e-8)
    assert scaled == pytest.approx((2e-3, 0.6, 0.8, 5e-9), rel=1e-14)
    assert scaled.learning_rate == lr_from_batch(1e-3, 4, 1, rule="adam_sde")
    back = adam_from_batch(scaled.learning_rate, 1, 4, b1=scaled.b1, b2=scaled.b2, eps=scaled.eps)
    assert back == pytest.approx((1e-3, 0.9, 0.95, 1e-8), rel=1e-14)


@pytest.mark.parametrize("rule", ["sqrt", "linear", "adam_sde"])
def test_rules_compose_and_keep_the_reference(rule):
    assert lr_from_batch(0.1, 256, 256, rule=rule) == 0.1
    there = lr_from_batch(0.1, 768, 256, rule=rule)
    assert lr_from_batch(there, 96, 768, rule=rule) == pytest.approx(lr_from_batch(0.1, 96, 256, rule=rule), rel=1e-14)


@pytest.mark.parametrize("tokens", BATCHES)
def test_golden_batches(tokens):
    size = batch_size_warmup(*GROWN)(tokens)
    assert size == BATCHES[tokens]
    assert type(size) is int


def test_a_batch_never_shrinks_and_is_a_multiple():
    grow = batch_size_warmup(24, 960, 10_007, 24)
    sizes = [grow(tokens) for tokens in range(10_100)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 24
    assert sizes[10_006] == 936
    assert sizes[10_007] == sizes[-1] == 960
    assert all(size % 24 == 0 for size in sizes)


def test_tokens_are_counted_exactly_at_any_size():
    ramp = 3 * 10**17
    grow = batch_size_warmup(1, 4, ramp, 1)
    # A double cannot tell these neighbours apart.
    assert [grow(ramp // 3 - 1), grow(ramp // 3), grow(ramp - 1), grow(ramp)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("tokens", "batch_size", "sequence_length", "steps"),
    [
        (0, 8, 16, 0),
        (1, 8, 16, 1),
        (128, 8, 16, 1),
        (129, 8, 16, 2),
        (1e9, 1024, 4096, 239),
        (2**31, 1024, 4096, 512),
        (2**31 + 1, 1024, 4096, 513),
        (10**18 + 1, 1, 1, 10**18 + 1),
        (10**18 + 1, 10, 10**17, 2),
        (10**400, 10**200, 10**100, 10**100),
    ],
)
def test_steps_from_tokens(tokens, batch_size, sequence_length, steps):
    assert steps_from_tokens(tokens, batch_size, sequence_length) == steps
    # The definition: the least number of steps that see so many tokens.
    assert steps * batch_size * sequence_length >= tokens
    assert steps == 0 or (steps - 1) * batch_size * sequence_length < tokens


def test_a_regime_that_keeps_its_updates_has_more_epochs():
    # "Train longer": eight times the batch, 800 epochs in place of 100, the same number of updates.
    corpus = 50_000
    assert steps_from_tokens(800 * corpus, 2048, 1) == steps_from_tokens(100 * corpus, 256, 1)


POSITIVE = "a finite positive number"
TOKENS = "a whole number of at least"
MULTIPLE = "a positive multiple of multiple"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: lr_from_batch(0.1, 8, 8, rule="root"),
            "lr_from_batch: rule must be one of ['linear', 'sqrt', 'adam_sde'], got 'root'",
        ),
        (lambda: lr_from_batch(0, 8, 8, rule="sqrt"), f"lr_from_batch: learning_rate must be {POSITIVE}, got 0"),
        (lambda: lr_from_batch(0.1, 0, 8, rule="sqrt"), "lr_from_batch: batch must be a positive int, got 0"),
        (
            lambda: lr_from_batch(0.1, 8, 1.5, rule="sqrt"),
            "lr_from_batch: reference_batch must be a positive int, got 1.5",
        ),
        (
            lambda: adam_from_batch(0.1, 16, 1, b1=0.9),
            "adam_from_batch: b1 must be at least 1 - reference_batch / batch, got 0.9",
        ),
        (lambda: adam_from_batch(0.1, 2, 1, b2=1.0), "adam_from_batch: b2 must be in [0, 1), got 1.0"),
        (lambda: batch_size_warmup(32, 512, 4e9, 0), "batch_size_warmup: multiple must be a positive int, got 0"),
        (lambda: batch_size_warmup(33, 512, 4e9, 32), f"batch_size_warmup: b0 must be {MULTIPLE}, got 33"),
        (lambda: batch_size_warmup(32, 500, 4e9, 32), f"batch_size_warmup: b1 must be {MULTIPLE}, got 500"),
        (lambda: batch_size_warmup(64, 32, 4e9, 32), "batch_size_warmup: b1 must be at least b0, got 32"),
        (lambda: batch_size_warmup(32, 64, 0, 32), f"batch_size_warmup: ramp_tokens must be {TOKENS} 1, got 0"),
        (lambda: batch_size_warmup(32, 64, 1.5, 32), f"batch_size_warmup: ramp_tokens must be {TOKENS} 1, got 1.5"),
        (lambda: batch_size_warmup(32, 64, 9, 32)(-1), f"batch_size_warmup: tokens must be {TOKENS} 0, got -1"),
        (lambda: steps_from_tokens(-1, 8, 8), f"steps_from_tokens: tokens must be {TOKENS} 0, got -1"),
        (lambda: steps_from_tokens(True, 8, 8), f"steps_from_tokens: tokens must be {TOKENS} 0, got True"),
        (
            lambda: steps_from_tokens(float("inf"), 8, 8),
            f"steps_from_tokens: tokens must be {TOKENS} 0, got inf",
        ),
        (lambda: steps_from_tokens(9, 8.0, 8), "steps_from_tokens: batch_size must be a positive int, got 8.0"),
        (lambda: steps_from_tokens(9, 8, 0), "steps_from_tokens: sequence_length must be a positive int, got 0"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ScheduleError) as error:
        call()
    assert str(error.value) == message
