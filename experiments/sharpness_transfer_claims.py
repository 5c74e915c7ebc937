"""stub"""

from lrstudy.study.claims import Claim

CLAIMS: tuple[Claim, ...] = ()
