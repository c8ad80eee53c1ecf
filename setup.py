"""What ``setup.cfg`` cannot say: a build begins clean, and the manual is built with the package."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build import build
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MANUAL = ROOT / "gns3server" / "manual"


class CleanBuild(build):
    """Forgets what an earlier build has left: it would bring modules back that are gone."""

    def run(self) -> None:
        """Build everything."""
        if Path(self.build_base).resolve() == ROOT / "build":
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()


class BuildWithManual(build_py):
    """Builds the manual where the server finds it, so that it is installed with the server."""

    def run(self) -> None:
        """Build the package."""
        if (ROOT / "docs").is_dir():
            shutil.rmtree(MANUAL, ignore_errors=True)
            if os.environ.get("BUILD_WITHOUT_MANUAL"):
                self.warn("the package is built without the manual, as BUILD_WITHOUT_MANUAL asks")
            elif importlib.util.find_spec("sphinx"):
                self.build_manual()
            else:
                self.warn("Sphinx is not installed: the package is built without the manual")
        super().run()

    def build_manual(self) -> None:
        """Have Sphinx build it; without it the server is complete but for its manual."""
        with tempfile.TemporaryDirectory() as trees:
            sphinx = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-d", trees]
            done = subprocess.run([*sphinx, "docs", str(MANUAL)], cwd=ROOT, check=False)
        if done.returncode:
            shutil.rmtree(MANUAL, ignore_errors=True)
            self.warn("the manual could not be built: the package is built without it")


setup(cmdclass={"build": CleanBuild, "build_py": BuildWithManual})
