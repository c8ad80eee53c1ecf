"""What is built of the server and its plugins, by setuptools in a copy of their folders."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
LEFT_OUT = shutil.ignore_patterns(
    ".*", "build", "docs", "tests", "manual", "plugins", "__pycache__"
)


def build_wheel(folder: Path, *, into: Path) -> set[str]:
    """Build a wheel as pip does; returns the names of the files in it."""
    command = [sys.executable, "-c", BUILD, str(into)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(zipfile.ZipFile(into / done.stdout.splitlines()[-1]).namelist())


@pytest.mark.parametrize(
    ("folder", "package"),
    [
        (".", "gns3server"),
        ("plugins/ethernet", "gns3server_ethernet"),
        ("plugins/linux", "gns3server_linux"),
        ("plugins/qemu", "gns3server_qemu"),
        ("plugins/udp", "gns3server_udp"),
        ("plugins/v2", "gns3server_v2"),
        ("plugins/vpcs", "gns3server_vpcs"),
    ],
)
def test_an_install_brings_no_module_back_that_is_gone(tmp_path, folder, package):
    copy, module = tmp_path / "copy", f"{package}/gone.py"
    shutil.copytree(ROOT / folder, copy, ignore=LEFT_OUT)
    (copy / module).touch()
    assert module in build_wheel(copy, into=tmp_path)
    assert (copy / "build" / "lib" / module).exists()
    (copy / module).unlink()
    built = build_wheel(copy, into=tmp_path)
    assert f"{package}/__init__.py" in built
    assert module not in built


def test_a_build_removes_nothing_from_another_place(tmp_path):
    copy, other = tmp_path / "copy", tmp_path / "other"
    shutil.copytree(ROOT / "plugins/udp", copy, ignore=LEFT_OUT)
    (other / "lib").mkdir(parents=True)
    (other / "lib" / "mine").touch()
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(other)]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    assert (other / "lib" / "gns3server_udp").is_dir()
    assert (other / "lib" / "mine").exists()


def test_a_source_distribution_has_all_that_the_manual_is_made_of(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "_build", "manual"))
    command = [sys.executable, "setup.py", "-q", "sdist", "--formats", "tar", "-d", str(tmp_path)]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar")
    with tarfile.open(archive) as tar:
        packed = {name.partition("/")[2] for name in tar.getnames()}
    pages = {path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.rst")}
    assert len(pages) > 15
    for name in (*pages, "docs/conf.py", "docs/tables.py", "CHANGES.rst", "README.rst", "setup.py"):
        assert str(name) in packed
    assert not [name for name in packed if name.endswith(".pyc")]


def test_the_manual_can_be_made_with_what_a_build_has():
    """It imports the server and the fixtures for authors, so a build needs what these need."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    needed = set(setup["options"]["install_requires"].split())
    assert needed < set(build)
    extra = set(build) - needed
    assert {name for name in extra if name.startswith("pytest")} <= set(
        setup["options.extras_require"]["testing"].split()
    )
    assert len(extra) == 4  # two of pytest, setuptools and Sphinx


def test_the_server_says_which_plugins_it_comes_with():
    """They win over others that offer the same, so none may be left out."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    names = set()
    for path in (ROOT / "plugins").glob("*/setup.cfg"):
        plugin = configparser.ConfigParser()
        plugin.read(path)
        names.add(plugin["metadata"]["name"])
    assert set(setup["options.extras_require"]["plugins"].split()) == names
