"""The real servers that the tests run against: Debian's rsyslog, syslog-ng and nginx, unpacked and not installed.

``python -m scripts.servers`` downloads the packages of requirements/servers.lock through apt and unpacks them into
``.servers/`` of the checkout. The system stays as it is: rsyslog and syslog-ng could not even be installed beside each
other. Nothing of it needs root. ``python -m scripts.servers bench`` unpacks besides, into a tree of its own, what only
benchmarks load into them (requirements/servers-bench.lock). :mod:`scripts.servers.place` says where the programs lie
and how they are started.
"""
