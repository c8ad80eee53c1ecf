"""The server's own log: one line a record, in a bounded file or on a stream.

Nothing of projects comes in here; their events are kept in ``storage``.
"""
