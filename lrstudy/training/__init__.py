"""One step, many lanes, the loop, checkpoints and records."""

from lrstudy.training import averaging, checkpoint, lanes, loop
from lrstudy.training.state import TrainState, init_state
from lrstudy.training.step import make_train_step

__all__ = ["TrainState", "averaging", "checkpoint", "init_state", "lanes", "loop", "make_train_step"]
