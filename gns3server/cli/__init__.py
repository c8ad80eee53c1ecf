"""The command line: its options, the daemon, the demo, the doctor, the report at the start.

The process that serves is run here as well: its standard streams, event loop, threads and
watchdog, and what it tells a service manager.

Commands that a person types end here. A room below never imports this one, and nothing here is
needed by a server that is run from a test.
"""
