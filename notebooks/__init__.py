"""Notebooks that call the library: `<name>.py` is what is written, `<name>.ipynb` what is made of it and run."""
