"""Storage: the database thread, tables, rows as they are read, the event log, file checks.

Plain data goes in and comes out. What a row means for a running node or project is decided above.
"""
