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

# Where records go, to 32 sinks at most; each gets every record that its filters let pass. Without any: these two.
[[sinks]]
name = "console"
type = "console"
#stream = "stdout"                         # or "stderr"
#format = "text"                           # or "json", "logfmt", a plug-in; default: text on a terminal, else json
#color = "auto"                            # or "always", "never"

[[sinks]]
name = "file"
type = "file"
path = "logs/logbus.jsonl"                 # relative to the directory in which the collector starts
format = "json"                            # or "text", "logfmt", a plug-in's name, "package.module:Name"

# When the next file begins: a size (kB, MB, GB, or KiB, MiB, GiB), an interval ("1 hour"), a local time ("00:00",
# "sunday at 03:00"), or a list of these, the first of which counts. Without it the file grows.
rotation = "100 MB"
# How long rotated files stay: an age ("7 days"), a number, a total size ("5 GB"), or a list of these: a file goes as
# soon as one of them says so. Without it they stay for ever.
retention = "10 files"
compression = "gz"                         # or "zst"; without it rotated files stay as they are

# What a sink takes. These and all that follow are for any sink.
#level = "NOTSET"                          # records from this level on; this is all
#components = ["rotator", "health"]        # only these components or loggers; default: all
#exclude_components = ["httpx"]            # and not these

# Conditions on the fields of a line, before they are renamed: a value, a list of values, or eq, ne, in, not_in, lt, le,
# gt, ge, matches, not_matches (RE2), exists. All of a table hold; of a list of tables, any.
#where = { status_code = { ge = 500 }, strategy = ["round_robin", "random"], "extra.kind" = "proxy" }

# What it leaves out: it keeps a share of the records or, with a key, of all that have one value of it; all from a level
# on; or the first of each call site in an interval (sample = { first = 10, interval = "1 s" }).
#sample.rate = 0.1                         # above 0 and up to 1; lines kept at less than 1 say so in sample_rate
#sample.key = "request_id"                 # all records of a request or none; default: each record by itself
#sample.keep = "WARNING"                   # from this level on nothing is left out
# With tail, a request of which a record is at keep or above is kept whole, what came before it included.
#sample.tail = true                        # default: false
#sample.window = "30 s"                    # how long a request is held at most
#sample.max_bytes = "16 MiB"               # how much is held at most

# Other names for the fields of a line, and fields that are added to each.
#rename_fields = { timestamp = "@timestamp" }
#static_fields = { environment = "production" }

# What waits for a sink in memory, and what happens when that is full: "block" has the collector read less, so that the
# workers' buffers take over, "drop_newest", "drop_oldest", "shed_lowest" drop records and count them. A file blocks,
# a console drops what comes; syslog and http drop the lowest levels first.
#queue.max_bytes = "4 MiB"
#queue.on_full = "block"

# A syslog daemon or server: "/dev/log", "unix:///path", "udp://host:514", "tcp://host:601", "tls://host:6514".
#[[sinks]]
#name = "syslog"
#type = "syslog"
#address = "tls://logs.example.com:6514"
#facility = "local0"                       # or a number from 0 to 23; default: "user"
#protocol = "rfc5424"                      # or "rfc3164", the default for a daemon's own socket
#format = "json"                           # default: the message, with the fields as structured data
#app_name = "shop"                         # default: that of the worker
#max_message = "8 KiB"                     # what is longer is cut, and says so; the default depends on the address
#tls.ca = "/etc/ssl/logs/ca.pem"           # instead of the system's authorities
#tls.certificate = "/etc/ssl/logs/me.pem"  # ours, where the server wants one, with its key
#tls.key = "/etc/ssl/logs/me.key"
#retry.initial = "500 ms"                  # after a failure it is tried again at a random time up to this, then up to
#retry.max_interval = "30 s"               # twice as late each time, but no later than this,
#retry.max_elapsed = "1 day"               # and then becomes a dead letter; default: never
#queue.max_bytes = "8 MiB"
#queue.on_full = "shed_lowest"
#spool = "256 MiB"                         # what waits on disk while the server is down; default: none

# Any HTTP server. ${NAME} is a variable of the collector's environment, in headers, auth and options only; $${ is ${.
#[[sinks]]
#name = "http"
#type = "http"
#url = "https://logs.example.com/ingest"
#method = "POST"                           # or "PUT"
#body = "ndjson"                           # lines; or "json", an array of them; "loki"; "otlp"
#format = "json"                           # of the lines
#compression = "gzip"                      # or "zstd"; default: none
#headers = { X-Scope-OrgID = "${TENANT}" }
#auth.bearer = "${LOG_TOKEN}"              # or auth.username and auth.password
#tls.ca = "/etc/ssl/logs/ca.pem"
#timeout = "30 s"                          # of a whole request
#batch.max_records = 500                   # a request goes when it has so many records,
#batch.max_bytes = "1 MiB"                 # so many bytes,
#batch.max_delay = "1 s"                   # or its oldest record has waited for so long
#retry.initial = "500 ms"
#retry.max_interval = "30 s"
#retry.max_elapsed = "1 day"
#retry.statuses = [408, 425, 429, 500, 502, 503, 504]  # default: 408, 425, 429 and all from 500 on
#queue.max_bytes = "8 MiB"
#queue.on_full = "shed_lowest"
#spool = "256 MiB"

# Grafana Loki. A label with many values makes many streams: fields like request_id belong into the line.
#[[sinks]]
#name = "loki"
#type = "http"
#url = "http://127.0.0.1:3100/loki/api/v1/push"
#body = "loki"
#labels = { job = "logbus", level = "{level}" }

# What is masked in everything that leaves the collector: the values of keys (a list here replaces the built-in one),
# and what patterns (RE2) match, or the groups in them.
#[redaction]
#fields = ["password", "token", "secret", "api_key", "authorization", "cookie"]
#patterns = ["acct-[0-9]{8}"]

# Prometheus metrics at /metrics, health at /healthz. Without this: none.
#[metrics]
#address = "127.0.0.1:9464"
"""
