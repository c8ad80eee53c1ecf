"""Guests of 512 bytes, which boot in a third of a second."""

from __future__ import annotations

import struct

MESSAGE = b"ready\r\n"
"""What the echo shows when it runs."""


def echo() -> bytes:
    """A boot sector that shows :data:`MESSAGE` on the first serial port, then what comes in there.

    Between two characters it halts until the next tick of the clock: it costs next to nothing. At
    each tick the BIOS would take what has come in for itself: so the clock's interrupt is ours.
    """
    code = bytearray.fromhex("fa 31c0 8ed8 c70620000000 c70622000000")  # cli; ds = 0; vector 8
    vector = len(code) - 8
    code += bytes.fromhex("fb be0000")  # sti; mov si, MESSAGE
    pointer = len(code) - 2
    show = len(code)
    code += bytes.fromhex("ac 84c0 7406 baf803 ee")  # lodsb; if 0, go on; out 0x3f8, al
    code += b"\xeb" + struct.pack("b", show - len(code) - 2)
    again = len(code)
    code += bytes.fromhex("bafd03")  # mov dx, 0x3fd
    wait = len(code)
    code += bytes.fromhex("ec a801 7503 f4")  # in al, dx; if a byte is there, go on; hlt
    code += b"\xeb" + struct.pack("b", wait - len(code) - 2)
    code += bytes.fromhex("baf803 ec ee")  # in al, 0x3f8; out 0x3f8, al
    code += b"\xeb" + struct.pack("b", again - len(code) - 2)
    struct.pack_into("<H", code, vector, 0x7C00 + len(code))
    code += bytes.fromhex("50 b020 e620 58 cf")  # acknowledge the interrupt
    struct.pack_into("<H", code, pointer, 0x7C00 + len(code))
    code += MESSAGE + b"\0"
    return bytes(code.ljust(510, b"\0") + b"\x55\xaa")


def switching_off() -> bytes:
    """A boot sector that switches a PC off, as an operating system does (ACPI: PM1a control)."""
    return bytes.fromhex("ba0406 b80020 ef f4").ljust(510, b"\0") + b"\x55\xaa"
