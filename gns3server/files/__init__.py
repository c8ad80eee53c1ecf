"""Files of the machine: images, uploads, safe opening, durable replacement, private modes.

Why a file cannot be used, and what helps, is said here as well.

What comes in here is about one file or directory at a time. Projects and nodes do not come in
here: they say which file they mean.
"""
