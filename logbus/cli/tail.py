"""``logbus tail``: records as they pass the collector, as lines, until somebody ends it.

Level, component and conditions are chosen in the collector, which sends what is wanted and no more. A pattern is
looked for here, where nobody waits for it but who gave it. A terminal that is slow, or stopped, is waited for here
too, and the collector meanwhile skips: what is written is whole lines in order, and how many are missing is said.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from logbus.cli.options import addresses, reaches_collector, read_fields, read_level
from logbus.cli.terminal import printable

if TYPE_CHECKING:
    from logbus.bus import Endpoint
    from logbus.cli.following import Following
    from logbus.collectors.excerpt import Excerpt

#: Seconds between attempts to find a collector again, and between two words about what was skipped.
RETRY_S: Final = 0.5
TELL_S: Final = 1.0
#: Seconds without an answer after which a collector is said to be silent.
SILENT_S: Final = 5.0

_STDOUT: Final = 1
#: The colours of a text line, which no pattern need know of.
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")


def _pattern(_ctx: click.Context, _parameter: click.Parameter, text: str | None) -> re.Pattern[str] | None:
    if text is None:
        return None
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise click.BadParameter(f"expected a regular expression, found {text!r}: {error}") from error


@click.command()
@click.option("--component", "components", metavar="NAME", multiple=True, help="A component, or a logger's name.")
@click.option("--level", metavar="LEVEL", default="NOTSET", callback=read_level, help="At least this level.")
@click.option(
    "--where",
    metavar="KEY=VALUE",
    multiple=True,
    callback=read_fields,
    help="Where this field of the record has this value; all must hold.",
)
@click.option("--grep", "pattern", metavar="REGEX", callback=_pattern, help="Lines in which this is found.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "logfmt"]),
    default="text",
    show_default=True,
    help="Form of a line.",
)
@click.option("-n", "count", metavar="N", type=click.IntRange(1), help="End after so many lines.")
@reaches_collector(5.0)
def tail(
    *,
    components: tuple[str, ...],
    level: int,
    where: dict[str, str],
    pattern: re.Pattern[str] | None,
    form: str,
    count: int | None,
    control: str | None,
    name: str | None,
    timeout: float,
) -> None:
    """Show records as they pass the collector, until Ctrl-C.

    \b
    The fields of --where are those of a JSON line: its own (worker, logger,
    component, level, process_id, ...) and those of the record.

    Nothing waits for this command: what is more than it can show, or than it
    may cost the collector, is skipped, and stderr says how much.
    """
    # Before anything can be interrupted: where Ctrl-C hits an import that executes a text, as dataclasses do, CPython
    # ends the process by the signal in the end, whoever has caught the exception.
    import logbus.cli.following
    import logbus.collectors.tail  # noqa: F401
    from logbus.collectors.follower import Question

    question = Question(components, level, tuple(where.items()), form, colour=_colored())
    place = addresses(control=control, name=name).control
    with _ended_by_signals():
        try:
            _Tail(question.document(), place, name, timeout, pattern, count).run()
        except BrokenPipeError:  # `| head` has seen enough
            return


class _Tail:
    """What one command does."""

    def __init__(
        self,
        command: dict[str, Any],
        control: Endpoint,
        name: str | None,
        timeout: float,
        pattern: re.Pattern[str] | None,
        count: int | None,
    ) -> None:
        self._command = command
        self._control = control
        self._name = name
        self._timeout = timeout
        self._pattern = pattern
        self._left = count
        #: Records that were skipped and of which nobody has been told, by why; and when that was last done.
        self._skipped = [0, 0]
        self._told_at = 0.0
        #: The sums of this connection.
        self._sums = (0, 0)
        self._silent = False

    def run(self) -> None:
        """Shows lines until there are enough. Raises what a first connection raises, and BrokenPipeError."""
        following = self._connect()
        try:
            while True:
                from logbus.cli.following import LostError

                try:
                    if self._pass_on(following):
                        return
                except LostError as lost:
                    following.close()
                    _say(f"collector {following.collector}: {lost}; asking again")
                    following = self._reconnect()
        finally:
            following.close()
            self._tell_skipped()

    def _connect(self) -> Following:
        from logbus.cli.following import Following

        following = Following(self._control, self._command, name=self._name, timeout=self._timeout)
        self._sums = (0, 0)
        _say(f"following collector {following.collector} (pid {following.pid})")
        return following

    def _reconnect(self) -> Following:
        """The next connection, however long it takes; a refusal is said once."""
        from logbus.errors import ControlError, NoCollectorError

        said = ""
        output = select.poll()
        output.register(_STDOUT, 0)
        while True:
            try:
                return self._connect()
            except NoCollectorError:
                pass
            except ControlError as error:
                if str(error) != said:
                    said = str(error)
                    _say(said)
            if output.poll(int(RETRY_S * 1000)):  # nobody reads it any more
                raise BrokenPipeError

    def _pass_on(self, following: Following) -> bool:
        """Shows what comes within a second or so; True when that was enough."""
        for message in following.messages(TELL_S, output=_STDOUT):
            if isinstance(message, dict):
                _say(f"collector {following.collector} drains")
            elif self._show(message, following):
                return True
        if time.monotonic() >= self._told_at + TELL_S:
            self._tell_skipped()
        silent = following.unheard > SILENT_S
        if silent != self._silent:
            self._silent = silent
            _say(f"collector {following.collector} {'does not answer' if silent else 'answers again'}")
        return False

    def _show(self, excerpt: Excerpt, following: Following) -> bool:
        sums = (excerpt.slow, excerpt.beyond)
        self._skipped = [told + new - old for told, new, old in zip(self._skipped, sums, self._sums, strict=True)]
        self._sums = sums
        lines = excerpt.lines
        if self._pattern is not None or self._left is not None:
            chosen = [line for line in lines.splitlines(keepends=True) if self._wants(line)]
            if self._left is not None:
                chosen = chosen[: self._left]
                self._left -= len(chosen)
            lines = b"".join(chosen)
        _write(lines, following)
        return self._left == 0

    def _wants(self, line: bytes) -> bool:
        return self._pattern is None or bool(self._pattern.search(_COLOUR.sub("", line.decode().rstrip("\n"))))

    def _tell_skipped(self) -> None:
        self._told_at = time.monotonic()
        (slow, beyond), self._skipped = self._skipped, [0, 0]
        if slow:
            _say(f"… {slow:,} records skipped, the terminal is slower")
        if beyond:
            from logbus.collectors.tail import MESSAGE_BYTES, RECORDS_PER_S, SHARE

            bound = f"{RECORDS_PER_S:,} records a second, {SHARE:.0%} of its time, {MESSAGE_BYTES // 1024} KiB a line"
            _say(f"… {beyond:,} records skipped, beyond what tail may cost the collector ({bound})")


def _write(lines: bytes, following: Following) -> None:
    """Writes lines to stdout, however slow it is, and stays a follower meanwhile."""
    view = memoryview(lines)
    while view:
        following.renew()
        if not select.select([], [_STDOUT], [], TELL_S)[1]:
            continue
        # A pipe that is ready takes this many bytes without waiting. Shared with others, it may still refuse.
        with contextlib.suppress(BlockingIOError):
            view = view[os.write(_STDOUT, view[: select.PIPE_BUF]) :]


def _say(text: str) -> None:
    click.echo(printable(text), err=True)


def _colored() -> bool:
    """Whether stdout gets colours, by the same rules as a console sink."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    with contextlib.suppress(OSError):
        return os.isatty(_STDOUT)
    return False


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A block that SIGTERM and Ctrl-C end as if it were done."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
