"""``python -m benchmarks.suite``: logbus and its peers in one shuffled run, and ``docs/performance.md`` made of it."""
