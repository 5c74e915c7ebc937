"""Turns a folder of texts into a TFDS data set: ``python -m lrstudy.study.build_text_dataset``, from a checkout."""

from lrstudy.study.build_text_dataset import main

if __name__ == "__main__":
    raise SystemExit(main())
