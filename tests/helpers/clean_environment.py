"""A virtual environment as somebody has it who begins, without asking any package server."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ("gns3server", "__editable__", "_gns3server", "pip", "distutils-precedence")
"""What the beginnings of the names have in common that are not lent."""

LEFT_OUT = shutil.ignore_patterns(
    ".*", "build", "manual", "__pycache__", "*.egg-info", "benchmarks"
)


@dataclass(frozen=True)
class CleanEnvironment:
    """What shell commands see.

    :param environ: their environment; ``GNS3SERVER`` is a copy of the server's source.
    """

    environ: dict[str, str]

    def run(self, script: str, folder: Path) -> str:
        """Run commands as a user types them; tells what they have printed.

        :raises AssertionError: one has failed.
        """
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


PYTHON = """#!/bin/sh
# As the Python that it stands for; what it makes an environment of finds what that one has.
"{python}" "$@" || exit
if [ "$1 $2" = "-m venv" ]; then
    packages="$(echo "$3"/lib/python3*/site-packages)"
    # Python 3.11 puts a setuptools there that is too old to make a wheel.
    rm -rf "$packages"/setuptools* "$packages"/pkg_resources "$packages"/*distutils*
    echo "{lent}" > "$packages/lent.pth"
fi
"""


def lend_packages(base: Path) -> Path:
    """A directory with links to what this Python has, but for the server and its plugins.

    :param base: where it is made.
    """
    lent = base / "lent"
    lent.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(OURS) and path.suffix != ".pth":
            (lent / path.name).symlink_to(path)
    return lent


def make_clean_environment(base: Path) -> CleanEnvironment:
    """An environment in which nothing is installed, and pip finds what this Python has.

    :param base: a directory for what that needs.
    """
    lent, programs = lend_packages(base), base / "bin"
    programs.mkdir()
    python = programs / "python3"
    python.write_text(PYTHON.format(python=sys.executable, lent=lent))
    python.chmod(0o755)
    source = base / "gns3server"
    shutil.copytree(ROOT, source, ignore=LEFT_OUT)
    passed = {k: v for k, v in os.environ.items() if not k.startswith(("GNS3", "PIP", "PYTEST"))}
    environ = {
        **passed,
        "BUILD_WITHOUT_MANUAL": "yes",
        "GNS3SERVER": str(source),
        "HOME": str(base),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_NO_INDEX": "1",
    }
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        environ.pop(name, None)
    return CleanEnvironment(environ)
