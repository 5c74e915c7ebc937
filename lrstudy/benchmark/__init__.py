"""Time to target: how soon an optimizer meets given validation targets, and what that is worth among its rivals.

``score`` and ``profile`` read a table of times; ``times_of`` makes an entry of it from studies and trials.
"""

from lrstudy.benchmark.scores import profile, score, speedup
from lrstudy.benchmark.times import reached, times_of

__all__ = ["profile", "reached", "score", "speedup", "times_of"]
