"""Debian's rsyslog on free ports and sockets of its own, which writes what it parsed as JSON.

All is at rsyslog's defaults but what a collector of logs needs: nothing here helps our messages to be understood. Its
queue is in-line (``direct``), so that a message is in the file before the next one is read: a killed one has lost at
most what it had in hand.
"""

from __future__ import annotations

import socket
from pathlib import Path

from scripts.servers import place
from tests.servers.certificates import Certificates
from tests.servers.daemon import Daemon, accepts, free_port, receives, requires
from tests.servers.parsed import Messages

_CONFIGURATION = """
global(workDirectory="{directory}")
main_queue(queue.type="direct")
module(load="imudp")
module(load="imtcp")
module(load="imuxsock" SysSock.Use="off")
template(name="parsed" type="list" option.jsonf="on") {{
  property(outname="through" name="$!through" format="jsonf")
  property(outname="facility" name="syslogfacility" format="jsonf")
  property(outname="severity" name="syslogseverity" format="jsonf")
  property(outname="timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app_name" name="app-name" format="jsonf")
  property(outname="proc_id" name="procid" format="jsonf")
  property(outname="msg_id" name="msgid" format="jsonf")
  property(outname="version" name="protocol-version" format="jsonf")
  property(outname="structured_data" name="structured-data" format="jsonf")
  property(outname="tag" name="syslogtag" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
  property(outname="raw" name="rawmsg" format="jsonf")
}}
{rulesets}
input(type="imudp" address="127.0.0.1" port="{udp}" ruleset="udp")
input(type="imtcp" address="127.0.0.1" port="{tcp}" ruleset="tcp")
input(type="imuxsock" Socket="{unix}" CreatePath="off" ruleset="unix")
input(type="imuxsock" Socket="{modern}" CreatePath="off" ruleset="modern"
  UseSpecialParser="off" IgnoreTimestamp="off")
"""
# A sender has to show a certificate of the same authority, in the name that is permitted.
_TLS = """
input(type="imtcp" address="127.0.0.1" port="{tls}" ruleset="tls"
  StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="x509/name" PermittedPeer="{client}"
  StreamDriver.CAFile="{ca}" StreamDriver.CertFile="{certificate}" StreamDriver.KeyFile="{key}")
"""

_RULESET = """
ruleset(name="{name}") {{
  set $!through = "{name}";
  action(type="omfile" file="{directory}/{name}.jsonl" template="parsed")
}}
"""

#: The name in the certificate of a sender that the TLS input lets in.
CLIENT = "collector.test"


class Rsyslog(Daemon):
    """A server with inputs ``udp``, ``tcp``, ``tls``, ``unix`` and ``modern``, and the ``messages`` that came by them.

    ``unix`` reads as /dev/log is read, the form of syslog(3) and no other; ``modern`` reads RFC 5424 with its time too.
    """

    def __init__(self, directory: Path, certificates: Certificates | None = None) -> None:
        requires("rsyslogd")
        directory.mkdir()
        self.udp, self.tcp, self.tls = free_port(), free_port(), free_port()
        # The path of a Unix socket has at most 107 bytes: a test gives a short directory.
        self.unix, self.modern = directory / "log", directory / "modern"
        # A file for each: inputs have threads, which would mix their lines in one.
        inputs = ("udp", "tcp", "tls", "unix", "modern")
        self.messages = Messages(*(directory / f"{name}.jsonl" for name in inputs))
        rulesets = "".join(_RULESET.format(name=name, directory=directory) for name in inputs)
        text = _CONFIGURATION.format(
            directory=directory,
            rulesets=rulesets,
            udp=self.udp,
            tcp=self.tcp,
            unix=self.unix,
            modern=self.modern,
        )
        if certificates is not None:
            server = certificates.issue("rsyslog", "localhost", "127.0.0.1")
            text += _TLS.format(
                tls=self.tls, client=CLIENT, ca=certificates.ca, certificate=server.certificate, key=server.key
            )
        configuration = directory / "rsyslog.conf"
        configuration.write_text(text)
        command = [str(place.program("rsyslogd")), "-n", "-f", str(configuration), "-i", str(directory / "pid")]
        super().__init__([*command, "-M", str(place.modules("rsyslog"))], directory, self._ready)
        self._tls = certificates is not None

    def _ready(self) -> bool:
        ports = (self.tcp, self.tls) if self._tls else (self.tcp,)
        return all(map(accepts, ports)) and receives(self.udp) and reads(self.modern, socket.SOCK_DGRAM)


def reads(path: Path, kind: socket.SocketKind) -> bool:
    """Whether somebody has bound a Unix socket, and not only left its file."""
    with socket.socket(socket.AF_UNIX, kind) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
