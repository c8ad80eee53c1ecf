"""Settings: every setting with its default, the sources they are read from, and the live values.

Besides the command line the only room that reads the environment.
"""
