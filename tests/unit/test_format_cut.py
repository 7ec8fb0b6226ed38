from __future__ import annotations

from hypothesis import given, strategies as st

from logbus.collectors.format.cut import TRUNCATED, cut, shared_out, truncated


@given(st.text(max_size=30), st.integers(-2, 80))
def test_a_cut_text_is_a_beginning(text: str, size: int) -> None:
    """Whatever the size, what is left is the longest beginning of whole characters that fits."""
    found = cut(text.encode(), size)
    assert text.startswith(found.decode())
    assert len(found) <= max(size, 0)
    following = text[len(found.decode()) : len(found.decode()) + 1]
    assert not following or len(found) + len(following.encode()) > size


@given(st.text(max_size=200), st.integers(0, 300))
def test_a_truncated_text_says_how_much_is_gone(text: str, size: int) -> None:
    """It has no more bytes than it may, and its mark and what is left add up to what there was."""
    data = text.encode()
    found, gone = truncated(data, size)
    assert len(found) <= size
    mark = TRUNCATED.search(found)
    if gone and mark:
        assert int(mark[0].split()[1]) == gone
        assert len(data) == mark.start() + gone
    else:
        assert len(found) + gone == len(data)
    assert data.startswith(found[: mark.start()] if gone and mark else found)


@given(st.lists(st.integers(0, 100), max_size=8), st.integers(-5, 500))
def test_room_is_taken_from_the_longest(sizes: list[int], room: int) -> None:
    """Cut to the number given, all texts fit, and no greater number would do."""
    most = shared_out(sizes, room)
    assert sum(min(size, most) for size in sizes) <= max(room, 0)
    if any(size > most for size in sizes):
        assert sum(min(size, most + 1) for size in sizes) > room
