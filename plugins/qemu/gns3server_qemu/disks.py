"""A guest's disks: overlays in its own directory, so that no image is ever written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from gns3server.plugin import (
    Conflict,
    Images,
    Machine,
    StorageFailed,
    Store,
    ToolFailed,
    ToolResult,
)

TOOL_SECONDS = 5.0
"""How long one call of ``qemu-img`` may take. To make an overlay takes some 30 ms."""

FLASH = "flash.qcow2"
FLASH_SIZE = "256M"
"""The disk of a guest that has no image for its first one (QEMU-13)."""

FULL = "No space left on device"
STORED = "images"
"""The key in a node's store: by disk, the path and the checksum of the image below its overlay."""

INSTALL_HINT = "Install it: on Debian and Ubuntu, sudo apt-get install qemu-utils."


@dataclass(frozen=True, slots=True)
class Disks:
    """The disks of one guest.

    :param title: the guest, for messages.
    :param directory: its directory on the machine.
    :param root: that of its project.
    :param emulator: the path of its QEMU: ``qemu-img`` is looked for beside it first.
    """

    title: str
    directory: Path
    root: Path
    machine: Machine
    images: Images
    store: Store
    emulator: str

    async def prepare(self, wanted: Mapping[str, Path]) -> Mapping[str, str]:
        """Make what is missing; tells the file of each disk in the guest's directory.

        :param wanted: the image of each disk, by its name, such as ``hda``.
        :raises Conflict: an image or ``qemu-img`` is missing, or of no use.
        :raises StorageFailed: there is no room for a disk.
        """
        tool = await self._tool()
        await self.machine.place_files(self.directory, self.root, {})
        files = {disk: await self._overlay(tool, disk, image) for disk, image in wanted.items()}
        if "hda" not in files:
            if not await self._is_there(FLASH):
                await self._make(tool, FLASH, [], FLASH_SIZE)
            files["hda"] = FLASH
        return files

    async def copy(self, source: str, file: str) -> str:
        """Make a file of the guest's own from one of the machine, unless it is there; its name.

        :raises Conflict: it cannot be made.
        :raises StorageFailed: there is no room for it.
        """
        if not await self._is_there(file):
            await self._place(await self._program("cp"), file, ["--", source])
        return file

    async def _overlay(self, tool: str, disk: str, image: Path) -> str:
        file = f"{disk}_disk.qcow2"
        if await self._is_there(file):
            await self._check_image(tool, disk, file, image)
            return file
        about = await self._about(tool, image, f"the image {image}")
        await self._make(tool, file, ["-b", str(image), "-F", str(about["format"])])
        await self._note(disk, image)
        return file

    async def _check_image(self, tool: str, disk: str, file: str, image: Path) -> None:
        """Check that the image below an overlay is the one that is wanted, or the same elsewhere.

        :raises Conflict: it is another one, or is not there.
        """
        about = await self._about(tool, self.directory / file, f"its file {file}")
        below = str(about.get("full-backing-filename", ""))
        try:
            await self.machine.stamp_file(str(image))
        except OSError as error:
            raise Conflict(
                f"{self.title} cannot be started: its image {image} cannot be read: "
                f"{error.strerror}. Put it there."
            ) from error
        if below == str(image):
            return
        known = (await self.store.get(STORED, {})).get(disk, {})
        md5 = await self.images.md5(image)
        if not md5 or known.get("md5") != md5:
            raise Conflict(
                f"{self.title} cannot be started: its disk {file} was made on the image {below}, "
                f"and {image} is not the same. Name the former image again, or remove "
                f"{self.directory / file} to begin with an empty layer; what the guest has written "
                "is lost with it."
            )
        arguments = ["rebase", "-u", "-b", str(image), "-F", str(about["backing-filename-format"])]
        await self._run(tool, [*arguments, "-f", "qcow2", file], f"its file {file}")
        await self._note(disk, image)

    async def _note(self, disk: str, image: Path) -> None:
        noted = dict(await self.store.get(STORED, {}))
        noted[disk] = {"path": str(image), "md5": await self.images.md5(image)}
        await self.store.set(STORED, noted)

    async def _tool(self) -> str:
        """The path of ``qemu-img``.

        :raises Conflict: there is none.
        """
        beside = str(PurePath(self.emulator).with_name("qemu-img"))
        for candidate in (beside, "qemu-img"):
            found = await self.machine.find_program(candidate)
            if found is not None:
                return found
        raise Conflict(
            f"{self.title} cannot be started: there is no {beside}, nor a qemu-img in PATH, and "
            f"its disks cannot be made. {INSTALL_HINT}"
        )

    async def _is_there(self, file: str) -> bool:
        try:
            await self.machine.stamp_file(f"{self.directory}/{file}")
        except FileNotFoundError:
            return False
        return True

    async def _about(self, tool: str, path: Path, what: str) -> dict[str, Any]:
        # Others may be using it.
        result = await self._run(tool, ["info", "-U", "--output=json", str(path)], what)
        return dict(json.loads(result.output))

    async def _make(self, tool: str, file: str, below: Sequence[str], *size: str) -> None:
        """Make a disk: all of it, or nothing. A half-made one would count as made."""
        await self._place(tool, file, ["create", "-q", "-f", "qcow2", *below], *size)

    async def _place(self, tool: str, file: str, arguments: Sequence[str], *more: str) -> None:
        new, what = f"{file}.new", f"its file {file}"
        try:
            await self._run(tool, [*arguments, new, *more], what)
            await self._run(await self._program("mv"), ["-T", new, file], what)
        except BaseException:
            remove = await self._program("rm")
            await self.machine.run_tool([remove, "-f", f"{self.directory}/{new}"])
            raise

    async def _program(self, name: str) -> str:
        return await self.machine.find_program(name) or name

    async def _run(self, tool: str, arguments: Sequence[str], what: str) -> ToolResult:
        """Run a tool in the guest's directory.

        :param what: what it works on, for messages.
        :raises Conflict: it fails.
        :raises StorageFailed: the disk is full.
        """
        try:
            result = await self.machine.run_tool(
                [tool, *arguments], limit=TOOL_SECONDS, cwd=str(self.directory)
            )
        except ToolFailed as error:
            raise Conflict(
                f"{self.title} cannot be started: {what} is not ready: {error.reason}."
            ) from error
        if result.code == 0:
            return result
        said = result.output.strip() or f"{tool} ended with code {result.code}"
        if FULL in said:
            raise StorageFailed(
                f"{self.title} cannot be started: there is no room for {what}. Make room on the "
                "machine's disk, and start it again."
            )
        raise Conflict(
            f"{self.title} cannot be started: {what} is of no use: {said:.500}. Name another one, "
            "or put it right."
        )
