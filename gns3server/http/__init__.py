"""The HTTP edge: routes, schemas, bodies, answers and streams.

The only room that knows HTTP and that imports aiohttp. It translates the words of the wire into
the words of the code and back. What a request does is decided below, in projects and nodes.
"""
