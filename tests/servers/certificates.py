"""Certificates for servers and clients of the tests, by an authority that nobody else trusts."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Identity:
    """A certificate with its key, as paths."""

    certificate: Path
    key: Path


class Certificates:
    """One authority, ``ca``, and what it signs, as files in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._authority = trustme.CA()
        self.ca = directory / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca))

    def issue(self, name: str, *hosts: str, expired: bool = False) -> Identity:
        """A certificate for hosts (names or addresses), in files called after ``name``."""
        ends = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1) if expired else None
        begins = ends - datetime.timedelta(days=2) if ends else None
        issued = self._authority.issue_cert(*hosts, common_name=hosts[0], not_before=begins, not_after=ends)
        identity = Identity(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        for number, part in enumerate(issued.cert_chain_pems):
            part.write_to_path(str(identity.certificate), append=number > 0)
        issued.private_key_pem.write_to_path(str(identity.key))
        return identity
