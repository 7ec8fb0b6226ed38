"""The main job on real input: the real proxywhirl in four workers, through one collector, every record accounted for.

``python -m scripts.demo run`` starts a process manager (supervisor, configured by scripts/supervisord.conf), which
starts a local target server and local proxies (:mod:`scripts.demo.services`), one collector with the configuration
in scripts/demo/logbus.toml, and four workers (:mod:`scripts.demo.worker`). Each worker counts what it logs for
itself (:mod:`scripts.demo.witness`); at the end :mod:`scripts.demo.check` compares these witnesses with the ledger
and with the lines in the log file. Everything is on loopback, and bounded in rate, count and time.
"""
