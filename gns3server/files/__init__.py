"""Files of the machine: images, uploads, safe opening, durable replacement.

What comes in here is about one file or directory at a time. What a project or a node is does not
come in: they say which file they mean.
"""
