"""An experiment whose only claim fails, for the tests of the command line."""

from lrstudy.study.claims import Claim, mean_interval
from lrstudy.study.experiment import Experiment
from lrstudy.study.main import main
from tests.study.studies import parts

CLAIM = Claim("a1", "never", "", ("",), lambda r: mean_interval(r.runs["excess"].astype(float)), "<", -1.0)
EXPERIMENT = Experiment("failing", "Fails", "?", {"cpu": lambda: parts(seeds=(0,), peaks=(1.0,))}, claims=(CLAIM,))

if __name__ == "__main__":
    main(EXPERIMENT)
