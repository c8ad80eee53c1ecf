"""What ``setup.cfg`` cannot say: a build begins clean."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build import build

BUILD = Path(__file__).resolve().parent / "build"


class CleanBuild(build):
    """Forgets what an earlier build has left: it would bring modules back that are gone."""

    def run(self) -> None:
        """Build everything."""
        if Path(self.build_base).resolve() == BUILD:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


setup(cmdclass={"build": CleanBuild})
