"""The tests of logbus; tests/README.md says which test goes where.

A regular package, so that a spawned child finds ``tests.…`` here and not in whatever else is installed.
"""
