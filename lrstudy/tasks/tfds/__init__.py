"""Data sets of TFDS, read from array_record files without TensorFlow.

``catalogue`` finds a data set by its name, ``content`` what of it is learnt from, ``parts`` what is held out;
``storage`` checks its files, ``examples`` reads them at any place. Texts become ``tokens``, whose ``counts`` say where
the windows of ``packing`` are; images become arrays in ``pixels``. ``feeding`` hands either to a program, and
``dataset`` is the task.
"""

from lrstudy.tasks.tfds.dataset import TensorflowDataset

__all__ = ["TensorflowDataset"]
