"""The command line: its options, the daemon, the demo, the doctor, what is said at the start.

Commands that a person types end here. A room below never imports this one, and nothing here is
needed by a server that is run from a test.
"""
