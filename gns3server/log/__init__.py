"""The server's own log: one line per record, in a bounded file or on a stream.

Projects do not come in here; their events are kept in ``storage``.
"""
