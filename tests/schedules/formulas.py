"""The schedules of other forms as their formulas read: plain floats, one step at a time."""

import bisect
import fractions
import math


def share(fraction: float, total: int) -> int:
    """Half-up rounding of the decimal that was written, in exact arithmetic."""
    return math.floor(fractions.Fraction(str(fraction)) * total + fractions.Fraction(1, 2))


def cosine(u: float, first: float, last: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * u)) / 2


def line(u: float, first: float, last: float) -> float:
    return first + (last - first) * u


def step_decay(s, t: int) -> float:
    reached = sum(t >= boundary for boundary in s.boundaries)
    factors = s.factors or (s.gamma,) * len(s.boundaries)
    return s.peak * t / s.warmup_steps if t < s.warmup_steps else s.peak * math.prod(factors[:reached])


def one_cycle(s, t: int) -> float:
    first = s.peak / s.div
    last, way = first / s.final_div, line if s.pct_final is not None else cosine
    nodes = [(0, first), (share(s.pct_start, s.total_steps), s.peak), (s.total_steps, last)]
    if s.pct_final is not None:
        nodes.insert(2, (share(s.pct_final, s.total_steps), first))
    return along(nodes, t, way)


def along(nodes, t: int, way) -> float:
    """Between the nodes around t."""
    place = bisect.bisect_right([step for step, _ in nodes], t)
    if place == len(nodes):
        return nodes[-1][1]
    (begin, first), (end, last) = nodes[place - 1], nodes[place]
    return way((t - begin) / (end - begin), first, last)


def inverse_sqrt(s, t: int) -> float:
    if t < s.warmup_steps:
        return s.peak * t / s.warmup_steps
    timescale = s.timescale or s.warmup_steps or 10_000
    return max(s.end, s.peak * math.sqrt(timescale / (t - s.warmup_steps + timescale)))


def noam(s, t: int) -> float:
    return s.scale * s.model_width**-0.5 * min((t + 1) ** -0.5, (t + 1) * s.warmup_steps**-1.5)


def power(s, t: int) -> float:
    def law(tokens: float) -> float:
        return min(s.peak, s.batch_size * s.a * max(tokens, 1) ** s.b)

    tokens = t * s.batch_size * s.sequence_length
    if tokens < s.warmup_tokens:
        return tokens / s.warmup_tokens * law(s.warmup_tokens)
    if s.decay_tokens is None or tokens <= s.total_tokens - s.decay_tokens:
        return law(tokens)
    u = min(1.0, (tokens - (s.total_tokens - s.decay_tokens)) / s.decay_tokens)
    shapes = {"linear": 1 - u, "exp_to_zero": (math.exp(1 - u) - 1) / (math.e - 1)}
    return shapes[s.shape] * law(s.total_tokens - s.decay_tokens)


def infinite(s, t: int) -> float:
    if t < s.warmup_steps:
        return s.peak * t / s.warmup_steps
    if t < s.cooldown_end:
        u = (t - s.warmup_steps) / (s.cooldown_end - s.warmup_steps)

        def h(x: float) -> float:
            return 1 / math.sqrt(1 + s.timescale * x) - 1

        if s.cooldown == "inv_sqrt":
            return s.peak + (s.constant - s.peak) * h(u) / h(1)
        return (cosine if s.cooldown == "cosine" else line)(u, s.peak, s.constant)
    if s.anneal_start is None or t <= s.anneal_start:
        return s.constant
    return s.constant * (s.end / s.constant) ** min(1.0, (t - s.anneal_start) / (s.anneal_end - s.anneal_start))


def rewarmed(s, t: int) -> float:
    stage = min(sum(t >= end for end in s.boundaries), len(s.boundaries) - 1)
    begin, end = (0, *s.boundaries)[stage], s.boundaries[stage]
    before = s.end_ratio * s.peaks[stage - 1] if stage else s.start_value
    top = begin + share(s.warmup_fraction, end - begin)
    if t < top:
        return line((t - begin) / (top - begin), before, s.peaks[stage])
    return cosine(min(1.0, (t - top) / (end - top)), s.peaks[stage], s.end_ratio * s.peaks[stage])


def rex_sampled(s, t: int) -> float:
    if t < s.warmup_steps:
        return s.peak * t / s.warmup_steps
    length = s.total_steps - s.warmup_steps
    u = min(t - s.warmup_steps, length) * s.samples // length / s.samples
    return s.end + (s.peak - s.end) * (1 - u) / ((1 - s.d) + s.d * (1 - u))


def sampled(s, t: int) -> float:
    from .reference import expected

    reading = min(t, s.total_steps) * s.samples // s.total_steps
    return expected(s.schedule, -(-reading * s.total_steps // s.samples))


def shifted(s, t: int) -> float:
    from .reference import expected

    return expected(s.schedule, t - s.start)


def joined(s, t: int) -> float:
    from .reference import expected

    place = bisect.bisect_right(s.boundaries, t)
    return expected(s.schedules[place], t - (0, *s.boundaries)[place])


def tabulated(s, t: int) -> float:
    last = len(s.values) - 1
    length = (s.total_steps or len(s.values)) - 1
    place, rest = divmod(min(t, length) * last, length)
    here, after = float(s.values[place]), float(s.values[min(place + 1, last)])
    return s.scale * (here if s.mode == "hold" else line(rest / length, here, after))


FORMULAS = {
    "StepDecay": step_decay,
    "OneCycle": one_cycle,
    "InverseSqrt": inverse_sqrt,
    "Noam": noam,
    "Power": power,
    "Infinite": infinite,
    "Rewarmed": rewarmed,
    "Sampled": sampled,
    "Shifted": shifted,
    "Joined": joined,
    "Tabulated": tabulated,
}
