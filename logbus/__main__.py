"""``python -m logbus``: the same program as ``logbus``."""

from logbus.cli import main

main()
