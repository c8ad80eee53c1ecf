"""The server's own log: one line per record, in a bounded file or on a stream.

What writes to files, pipes and terminals without waiting for a reader is here as well.

Projects do not come in here; their events are kept in ``storage``.
"""
