"""Where logbus meets other programs: one module for each of them, loaded by whoever uses it.

``logbus run -- COMMAND`` needs none of them: it makes every Python process of a command a worker. They are for those
who prefer a line of code or a setting, and for what only the other program knows: which request it is working on.
"""
