"""The report: one self-contained page that a stranger understands."""

from lrstudy.study.report.study import write

__all__ = ["write"]
