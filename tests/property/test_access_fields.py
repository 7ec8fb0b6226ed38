"""Fields of access records, whatever a server or an application hands to the log call."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from hypothesis import given, strategies as st

from logbus.integrations import gunicorn, uvicorn

ANYTHING = st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.integers(), max_size=2)
ATOMS = st.dictionaries(st.sampled_from([*"mUharsHBDMTtqf", "{x-request-id}o", "other"]), ANYTHING)
KINDS = {
    "method": str,
    "path": str,
    "client": str,
    "user_agent": str,
    "http_version": str,
    "status": int,
    "bytes": int,
    "duration_ms": float,
    "request_id": str,
}


def fields_of(name: str, arguments: Any, cleaned: Callable[[logging.LogRecord], logging.LogRecord]) -> dict[str, Any]:
    """What is added to a record, which itself stays as it is."""
    record = logging.makeLogRecord({"name": name, "args": arguments})
    before = dict(record.__dict__)
    copy = cleaned(record)
    assert record.__dict__ == before
    return {key: value for key, value in copy.__dict__.items() if key not in before}


@given(ATOMS)
def test_atoms_of_gunicorn(atoms: dict[str, Any]) -> None:
    """Each field has its type or is not there, and no path has a query that stood in a request line."""
    fields = fields_of("gunicorn.access", atoms, gunicorn.cleaned)
    assert all(type(value) is KINDS[key] for key, value in fields.items())
    if "U" not in atoms and "path" in fields:
        assert "?" not in fields["path"]


@given(st.tuples(ANYTHING, ANYTHING, ANYTHING, ANYTHING, ANYTHING) | st.tuples(ANYTHING) | st.none())
def test_arguments_of_uvicorn(arguments: Any) -> None:
    """Each field has its type or is not there; the path has no query, the client no port."""
    fields = fields_of("uvicorn.access", arguments, uvicorn.cleaned)
    assert all(type(value) is KINDS[key] for key, value in fields.items())
    assert "?" not in fields.get("path", "")


@given(st.ip_addresses(), st.integers(0, 65535), st.text(), st.text(), st.integers(100, 599))
def test_a_request_of_uvicorn(address: object, port: int, path: str, query: str, status: int) -> None:
    """Path, status and client are the request's own."""
    path = path.replace("?", "")
    arguments = (f"{address}:{port}", "GET", f"/{path}?{query}", "1.1", status)
    fields = fields_of("uvicorn.access", arguments, uvicorn.cleaned)
    assert (fields["path"], fields["status"], fields["client"]) == (f"/{path}", status, str(address))
