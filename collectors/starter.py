"""The file that ``logbus config init`` writes: every setting of this version, explained, at its default.

Lines that begin with ``#`` and a letter or bracket, without a space, are settings switched off: each table of them is
right as it stands once the ``#`` are taken away.
"""

from __future__ import annotations

from typing import Final

STARTER: Final = """\
# Configuration of a logbus collector, and of the workers on this machine as far as [bus] says where it is.
#
# Precedence: options of "logbus collector start", LOGBUS_... variables, this file, defaults.
# Check it with "logbus config validate FILE"; see what comes of it with "logbus config show".
# A running collector reads this file again when it changes, on SIGHUP, and on "logbus collector reload":
# whole or not at all. [bus] and [metrics] count when a collector starts, and a change there is refused until then.

# Where the collector listens. Without this: sockets in the runtime directory of the user.
#[bus]
#endpoint = "ipc:///run/logbus/records"
#control = "ipc:///run/logbus/control"     # PUB is beside it, at /run/logbus/control.pub
#durability = "none"
#allow = []                                # other users whose workers may log: names, or uids without quotes

# From which level on workers log, at the source: a call below it costs next to nothing.
# Keys are components or any run of segments of a logger's dotted name (in quotes), the most specific wins;
# "default" is every logger. Without this table the workers' own settings hold, and INFO without any.
#[levels]
#default = "INFO"
#rotator = "DEBUG"
#"proxywhirl.cache" = "WARNING"

# Where records go; each sink gets every record that its filters let pass. Without any: these two.
[[sinks]]
name = "console"
type = "console"
#stream = "stdout"                         # or "stderr"
#format = "text"                           # or "json"; default: text on a terminal, else json
#color = "auto"                            # or "always", "never"

[[sinks]]
name = "file"
type = "file"
path = "logs/logbus.jsonl"                 # relative to the directory in which the collector starts
format = "json"                            # or "text"
#level = "DEBUG"                           # records from this level on; default: all
#components = ["rotator", "health"]        # only these; default: all
#exclude_components = ["httpx"]            # and not these

# Keys whose values are masked in everything that leaves the collector. A list here replaces the built-in one.
#[redaction]
#fields = ["password", "token", "secret", "api_key", "authorization", "cookie"]

# Prometheus metrics at /metrics, health at /healthz. Without this: none.
#[metrics]
#address = "127.0.0.1:9464"
"""
