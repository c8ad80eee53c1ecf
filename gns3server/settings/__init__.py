"""Settings: every setting declared once, the sources that they are read from, the live values.

The checks, the options of the command line and the tables of the manual are made from the
declarations in :mod:`~gns3server.settings.server`; sections of plugins come from their schemas in
the same way. Besides the command line the only room that reads the environment.
"""
