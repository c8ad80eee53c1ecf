"""The edge: requests come in here, and answers and streams go out.

A request is checked, read and validated here, its words of the wire become those of the code and
back, and errors become statuses. Only this room imports aiohttp, apispec and orjson. What a request
does belongs below: nothing here decides about projects, nodes or files, or keeps any of them, and
nothing here knows a plugin or an emulator.
"""
