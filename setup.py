"""Build entry point; every fact about the package is in pyproject.toml."""

import shutil

from setuptools import setup
from setuptools.command.build_py import build_py


class FreshBuild(build_py):
    """Starts from nothing: setuptools would ship what an earlier build left behind, files that are gone among them."""

    def run(self) -> None:
        """Builds the package's files."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(cmdclass={"build_py": FreshBuild})
