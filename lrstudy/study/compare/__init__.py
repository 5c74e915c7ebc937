"""Two studies side by side: what differs in their configurations, claims and runs."""

from lrstudy.study.compare.command import compare, compare_command

__all__ = ["compare", "compare_command"]
