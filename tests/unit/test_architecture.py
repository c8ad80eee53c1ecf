"""The rules of the house that no linter knows. ``lint-imports`` sees to who may import whom."""

from __future__ import annotations

import ast
import asyncio
import gc
import os
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, requires
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CORE = ROOT / "gns3server"

READS_ENVIRONMENT = {"settings", "__main__", "testing"}

CHANGING_METHODS = set(dir(dict)) | set(dir(list)) | set(dir(set)) | {"appendleft", "popleft"}
CHANGING_METHODS -= set(dir(frozenset)) | set(dir(tuple)) | {"get", "items", "keys", "values"}

EMULATORS = re.compile(r"vpcs|qemu|dynamips|virtualbox|(?<![a-z])iou(?![a-z])", re.IGNORECASE)
STATEMENT = re.compile(r"\bVPCS-\d+\b")
"""Statements of the contract have an emulator's name in theirs."""


@dataclass(frozen=True)
class Import:
    """One import: who imports what, where, and whether only for type checkers."""

    module: str
    target: str
    line: int
    typing_only: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(CORE.rglob("*.py"))}


def room(module: str) -> str:
    """The room of a module of the core: the second part of its name."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def imports(path: Path) -> Iterator[Import]:
    """Every import of a file, those inside functions included."""
    for_typing = {
        inner
        for node in ast.walk(tree(path))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    name = module_name(path)
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            assert node.level == 0, f"{name}:{node.lineno} imports relatively"
            origin = str(node.module)
            # What is imported from a package may be a module of it.
            targets = [
                full if (full := f"{origin}.{alias.name}") in MODULES else origin
                for alias in node.names
            ]
        for target in targets:
            yield Import(name, target, node.lineno, node in for_typing)


CORE_IMPORTS = [found for path in MODULES.values() for found in imports(path)]


def test_the_core_imports_nothing_that_it_does_not_require():
    required = {
        re.split(r"[^\w-]", line, maxsplit=1)[0].replace("-", "_")
        for line in requires("gns3server") or ()
    }
    known = sys.stdlib_module_names | required | {"gns3server", "openapi_schema_validator"}
    assert {
        str(found) for found in CORE_IMPORTS if found.target.split(".")[0] not in known
    } == set()


def test_only_settings_and_the_command_line_read_the_environment():
    readers = set()
    for module, path in MODULES.items():
        for node in ast.walk(tree(path)):
            text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            names = [a.name for a in node.names] if isinstance(node, ast.ImportFrom) else []
            if text in ("os.environ", "os.environb", "os.getenv", "os.putenv", "Path.home") or (
                isinstance(node, ast.ImportFrom)
                and node.module == "os"
                and {"environ", "environb", "getenv"} & set(names)
            ):
                readers.add(room(module))
            if isinstance(node, ast.Attribute) and node.attr in ("expanduser", "expandvars"):
                readers.add(room(module))
    assert readers <= READS_ENVIRONMENT


def test_the_core_names_no_emulator():
    named = []
    for path in sorted(CORE.rglob("*")):
        # The manual is built into the package, and names them.
        if path.is_dir() or path.is_relative_to(CORE / "manual"):
            continue
        if path.suffix in (".pyc", ".gz") or path.name.startswith("demo"):
            continue
        # Made from docs/ by a build.
        if path.is_relative_to(CORE / "manual"):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if EMULATORS.search(STATEMENT.sub("", line)):
                named.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
        assert not EMULATORS.search(path.name)
    assert named == []


def plugin_files() -> list[tuple[Path, set[str]]]:
    """Every file of a plugin, toys and examples included, with what of ours it may import."""
    files = []
    for package in [*(ROOT / "plugins").iterdir(), *(ROOT / "docs" / "examples").glob("*")]:
        own = {path.stem for path in package.glob("gns3server_*")}
        helpers = {path.stem for path in package.glob("tests/**/*.py")}
        for path in package.rglob("*.py"):
            tests = "tests" in path.relative_to(package).parts
            also = {"gns3server.testing", *helpers} if tests else set()
            files.append((path, {"gns3server.plugin", *own, *also}))
    files += [(path, {"gns3server.plugin"}) for path in (ROOT / "tests" / "toys").glob("*.py")]
    return files


def test_plugins_import_the_public_module_only():
    files = plugin_files()
    assert {"gns3server_vpcs", "gns3server_udp", "gns3server_ethernet", "gns3server_linux"} <= {
        path.parent.name for path, _ in files
    }
    strangers = [
        str(found)
        for path, allowed in files
        for found in imports(path)
        if found.target.startswith("gns3server")
        and found.target not in allowed
        and found.target.split(".")[0] not in allowed
    ]
    assert strangers == []


# State ---------------------------------------------------------------------------


def test_no_function_changes_what_belongs_to_a_module():
    """No ``global``, no cache around a function: state has an owner that can be made twice."""
    found = []
    for module, path in MODULES.items():
        containers = containers_of(path)
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Global):
                found.append(f"{module}:{node.lineno}: global {', '.join(node.names)}")
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                decorators = " ".join(ast.unparse(one) for one in node.decorator_list)
                if re.search(r"\b(lru_)?cache\b", decorators):
                    found.append(f"{module}:{node.lineno}: {node.name} keeps a cache")
                found += [f"{module}: {change}" for change in changes_of(containers, node)]
    assert found == []


def containers_of(path: Path) -> set[str]:
    """The names of a module that are bound to something that could be changed."""
    names = set()
    for node in tree(path).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(
            node.value,
            ast.Dict | ast.List | ast.Set | ast.Call | ast.DictComp | ast.ListComp | ast.SetComp,
        ):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def changes_of(containers: set[str], function: ast.AST) -> Iterator[str]:
    """Where a function changes one of them: an item, an attribute, or by a method."""
    for node in ast.walk(function):
        if isinstance(node, ast.Subscript | ast.Attribute):
            name = node.value.id if isinstance(node.value, ast.Name) else ""
            stored = not isinstance(node.ctx, ast.Load)
            called = isinstance(node, ast.Attribute) and node.attr in CHANGING_METHODS
            if name in containers and (stored or called):
                yield f"line {node.lineno} changes {name}"


def test_the_rule_of_state_refuses_what_it_should():
    source = (
        "def f():\n    A[1] = 2\n    A.append(3)\n    del A[4]\n    A.x = 5\n    A[6]\n    A.get(7)"
    )
    found = sorted(changes_of({"A"}, ast.parse(source)))
    assert found == [f"line {number} changes A" for number in (2, 3, 4, 5)]


def module_values() -> dict[str, str]:
    """All that the core's modules and their classes hold, as text."""
    values: dict[str, str] = {}
    for module in MODULES:
        loaded = sys.modules.get(module)
        for name, value in vars(loaded).items() if loaded else ():
            if not name.startswith("__") and name != "_":
                values |= described(f"{module}.{name}", value, module)
    return values


def described(name: str, value: object, module: str) -> dict[str, str]:
    if isinstance(value, ModuleType | FunctionType):
        return {}
    if isinstance(value, type):
        if value.__module__ != module:
            return {}
        return {
            key: text
            for attribute, content in vars(value).items()
            if isinstance(content, dict | list | set) and not attribute.startswith("__")
            for key, text in {f"{name}.{attribute}": repr(content)}.items()
        }
    inside = getattr(value, "__dict__", None) if type(value).__module__ in MODULES else None
    return {name: repr(value) if inside is None else repr(sorted(inside.items()))}


async def test_the_life_of_a_server_leaves_nothing_in_modules(gns3_serving):
    points = [EntryPoint("toy", "toy_emulator", "gns3server.plugins")]

    async def live() -> None:
        async with gns3_serving(plugins=points) as server:
            client = server.client
            project = (await client.post("/v1/projects", {"name": "x"})).json["project_id"]
            toys = f"/v1/projects/{project}/toy/vms"
            toy = (await client.post(toys, {"name": "toy"})).json["vm_id"]
            assert (await client.post(f"{toys}/{toy}/start")).status == 204

    # What is imported late is imported by the first one.
    await live()
    before = module_values()
    assert len(before) > 50
    await live()
    assert module_values() == before


def test_a_server_is_gone_once_its_test_is_over(gns3_serving):
    async def live() -> weakref.ref[object]:
        async with gns3_serving() as server:
            assert (await server.client.get("/v1/version")).status == 200
            return weakref.ref(server.running.server.projects)

    projects = asyncio.run(live())
    gc.collect()
    assert projects() is None


# Importing ------------------------------------------------------------------------


def run_python(source: str, *arguments: str, cwd: Path) -> str:
    """Run a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={
            "PATH": os.defpath,
            "HOME": str(cwd),
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "toys")]),
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


EACH_ALONE = """
import importlib, os, sys, traceback
ours, others = sys.argv[1].split(","), sys.argv[2].split(",")
for other in others:
    importlib.import_module(other)
assert not [name for name in sys.modules if name.split(".")[0] == "gns3server"]
for number, module in enumerate(ours):
    if number >= 8:
        os.wait()
    if os.fork() == 0:
        try:
            importlib.import_module(module)
        except BaseException:
            print(module, traceback.format_exc(), flush=True)
        os._exit(0)
for _ in ours[:8]:
    os.wait()
"""
"""Libraries are imported once, and each of our modules in a copy of that interpreter, eight at
a time.
"""


@pytest.mark.heavy
@pytest.mark.timeout(180)
def test_each_module_imports_alone(tmp_path):
    libraries = {
        found.target
        for found in CORE_IMPORTS
        if found.target.split(".")[0] not in {"gns3server", "ctypes", "openapi_schema_validator"}
        and not found.typing_only
    }
    assert run_python(EACH_ALONE, ",".join(MODULES), ",".join(libraries), cwd=tmp_path) == ""


def test_the_command_line_imports_no_library(tmp_path):
    source = "import sys, gns3server.__main__; print(*sys.modules)"
    loaded = {name.split(".")[0] for name in run_python(source, cwd=tmp_path).split()}
    assert "gns3server" in loaded
    assert loaded & {"aiohttp", "marshmallow", "pluggy", "orjson", "sqlite3"} == set()


SERVE = """
import asyncio, sys, urllib.request
from functools import partial
from importlib.metadata import EntryPoint
from gns3server.settings.schema import load
from gns3server.settings.live import LiveSettings
read = partial(load, {"HOME": sys.argv[1]}, {"port": 0, "strict_plugins": True})
config = LiveSettings(read)

async def main():
    from gns3server.app import serving
    points = [EntryPoint("toy", "toy_emulator", "gns3server.plugins")]
    async with serving(config, found=points) as server:
        print(*sys.modules)

asyncio.run(main())
"""


def test_a_start_imports_nothing_that_it_does_not_need(tmp_path):
    loaded = set(run_python(SERVE, str(tmp_path), cwd=tmp_path).split())
    assert {"gns3server.app", "aiohttp", "toy_emulator"} <= loaded
    needless = {"apispec", "psutil", "ctypes", "yaml", "gns3server.http.openapi"}
    needless |= {name for name in loaded if name.startswith("gns3server.cli.doctor")}
    assert loaded & (needless | {"gns3server.testing", "gns3server.cli.demo", "pytest"}) == set()
