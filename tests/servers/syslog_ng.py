"""Debian's syslog-ng on free ports and sockets of its own, which writes what it parsed as JSON."""

from __future__ import annotations

import socket
from pathlib import Path

from scripts.servers import place
from tests.servers.certificates import Certificates, Identity
from tests.servers.daemon import Daemon, accepts, free_port, receives, requires
from tests.servers.parsed import Messages
from tests.servers.rsyslog import reads

_CONFIGURATION = """
@version: 3.38
options {{
  keep-hostname(yes); keep-timestamp(yes); use-dns(no); stats-freq(0); ts-format(iso); frac-digits(6); flush-lines(1);
}};
template t_parsed {{
  template("$(format-json --pair through=$SOURCE --pair facility=int($FACILITY_NUM) --pair severity=int($LEVEL_NUM)
    --pair timestamp=$ISODATE --pair host=$HOST --pair app_name=$PROGRAM --pair proc_id=$PID --pair msg_id=$MSGID
    --pair message=$MESSAGE --pair structured_data=$SDATA --pair raw=$RAWMSG --key .SDATA.*)\\n");
}};
destination d_messages {{ file("{messages}" template(t_parsed)); }};
source udp {{ syslog(ip(127.0.0.1) port({udp}) transport("udp") flags(store-raw-message)); }};
source tcp {{ syslog(ip(127.0.0.1) port({tcp}) transport("tcp") flags(store-raw-message)); }};
source datagram {{ unix-dgram("{datagram}" flags(syslog-protocol, store-raw-message)); }};
source local {{ unix-dgram("{local}" flags(store-raw-message)); }};
source stream {{ unix-stream("{stream}" flags(syslog-protocol, store-raw-message)); }};
log {{ source(udp); source(tcp); source(datagram); source(local); source(stream); destination(d_messages); }};
"""
_TLS = """
source {name} {{
  syslog(ip(127.0.0.1) port({port}) transport("tls") flags(store-raw-message)
    tls(key-file("{key}") cert-file("{certificate}") ca-file("{ca}") peer-verify({verify})));
}};
log {{ source({name}); destination(d_messages); }};
"""


class SyslogNg(Daemon):
    """A server with inputs ``udp``, ``tcp``, ``datagram``, ``stream``, ``local``, and a TLS one per identity.

    ``local`` reads as /dev/log is read, the form of syslog(3) and no other. ``tls`` has the ports of the identities by
    their names; the one called ``asking`` has the client show a certificate.
    """

    def __init__(
        self,
        directory: Path,
        certificates: Certificates | None = None,
        identities: dict[str, Identity] | None = None,
    ) -> None:
        requires("syslog-ng")
        directory.mkdir()
        self.udp, self.tcp = free_port(), free_port()
        self.datagram, self.local, self.stream = (directory / name for name in ("datagram", "local", "stream"))
        written = directory / "messages.jsonl"
        self.messages = Messages(written)
        self.tls = {name: free_port() for name in identities or {}}
        text = _CONFIGURATION.format(
            messages=written,
            udp=self.udp,
            tcp=self.tcp,
            datagram=self.datagram,
            local=self.local,
            stream=self.stream,
        )
        for name, identity in (identities or {}).items():
            assert certificates is not None
            verify = "required-trusted" if name == "asking" else "optional-untrusted"
            text += _TLS.format(
                name=name,
                port=self.tls[name],
                key=identity.key,
                certificate=identity.certificate,
                ca=certificates.ca,
                verify=verify,
            )
        configuration = directory / "syslog-ng.conf"
        configuration.write_text(text)
        files = {"cfgfile": configuration}
        files |= {name: directory / name for name in ("persist-file", "pidfile", "control")}
        command = [str(place.program("syslog-ng")), "--foreground", "--stderr", "--no-caps"]
        command += [f"--{name}={path}" for name, path in files.items()]
        super().__init__([*command, f"--module-path={place.modules('syslog-ng')}"], directory, self._ready)

    def _ready(self) -> bool:
        return (
            all(map(accepts, (self.tcp, *self.tls.values())))
            and receives(self.udp)
            and reads(self.datagram, socket.SOCK_DGRAM)
            and reads(self.stream, socket.SOCK_STREAM)
        )
