"""Settings: each declared once, the sources they are read from, and the live values.

The checks, the command-line options and the tables of the manual are made from the
declarations in :mod:`~gns3server.settings.server`; sections of plugins come from their schemas in
the same way. Only this room and the command line read the environment.
"""
