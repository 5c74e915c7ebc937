"""Claims about batch Hessians and largest rates."""

from collections.abc import Sequence

from lrstudy.study.claims import Claim

CLAIMS: Sequence[Claim] = ()
