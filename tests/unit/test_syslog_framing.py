from __future__ import annotations

from hypothesis import given, strategies as st

from logbus.collectors.sinks.syslog.framing import PIECE, octet_counted, pieces

LINES = st.lists(st.binary(max_size=40).filter(lambda data: b"\n" not in data), min_size=1).map(
    lambda lines: b"".join(line + b"\n" for line in lines)
)


def test_octets_are_counted() -> None:
    """Each message comes behind its length and a blank, in bytes and without its newline."""
    assert octet_counted("é\n\nab\n".encode()) == "2 é0 2 ab".encode()


@given(LINES)
def test_counted_messages_come_back(lines: bytes) -> None:
    """A reader who counts finds the messages, whatever is in them."""
    framed, found = octet_counted(lines), []
    while framed:
        length, _, rest = framed.partition(b" ")
        found.append(rest[: int(length)])
        framed = rest[int(length) :]
    assert found == lines[:-1].split(b"\n")


@given(st.lists(st.integers(1, 3 * PIECE // 2), max_size=6))
def test_pieces_are_whole_lines(sizes: list[int]) -> None:
    """Pieces add up to the lines, end with one, and are small unless a line is longer."""
    lines = b"".join(b"x" * (size - 1) + b"\n" for size in sizes)
    found = list(pieces(lines))
    assert b"".join(found) == lines
    for piece in found:
        assert piece.endswith(b"\n")
        assert len(piece) <= PIECE or piece.count(b"\n") == 1
