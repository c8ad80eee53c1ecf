"""Storage: the database thread, the tables, rows as they are read, the event log, checks of files.

Plain data goes in and comes out. What a row means for a running node or project is decided above.
"""
