"""``logbus run``: the command itself, and how a process becomes a worker at its start."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from logbus.rules import Rule
from tests.collector_command import ROOT, child_environment, run_logbus
from tests.eventually import eventually
from tests.peer import Peer
from tests.run_command import PATIENCE, arrived, below, run, write_program


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Writes a program of these lines, and says where it is."""
    return partial(write_program, tmp_path)


def test_options_reach_every_process(peer: Peer, program: Callable[[str], str]) -> None:
    """The level, and what records are called, in the program and in those that it starts."""
    lines = """
    import subprocess
    log.debug("d")
    logging.getLogger("own").setLevel("ERROR")
    logging.getLogger("own").warning("its own level")
    logging.basicConfig(level="ERROR")
    logging.info("from the root")
    if len(sys.argv) < 2:
        subprocess.run([sys.executable, __file__, "again"], check=True)
    """
    options = ("--level", "debug", "--component", "counter", "--app-name", "shop", "--worker", "w-1")
    done = run(sys.executable, program(lines), options=options)
    assert (done.returncode, done.stderr) == (0, "")
    assert Counter(record.message for record in peer.arrivals.records) == {"d": 2, "from the root": 2}
    assert {record.worker for record in peer.arrivals.records} == {"w-1"}
    assert {record.component for record in peer.arrivals.records} == {"shop", "counter"}
    assert len({record.pid for record in peer.arrivals.records}) == 2


def test_it_becomes_the_command(peer: Peer, program: Callable[[str], str]) -> None:
    """The pid is its own, and no parent is left over that would have to pass on signals."""
    lines = """
    print(os.getpid(), os.getppid(), signal.getsignal(signal.SIGPIPE).name, flush=True)
    log.info("ready")
    time.sleep(60)
    """
    command = [sys.executable, "-m", "logbus", "run", "--", sys.executable, program(lines)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env=child_environment(), text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline().split() == [str(process.pid), str(os.getpid()), "SIG_IGN"]
    peer.wait_records(1)
    process.terminate()
    assert process.wait(PATIENCE) == -signal.SIGTERM
    assert eventually(lambda: peer.arrivals.byes)


def test_signals_that_are_ignored_by_python_are_not_by_other_programs() -> None:
    """``head`` ends a pipe: the command on its left ends of SIGPIPE, as it would without us."""
    done = run("sh", "-c", "yes | head -n 1; kill -PIPE $$", options=())
    assert done.stdout == "y\n"
    assert done.returncode == -signal.SIGPIPE


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ((), 2, "Missing argument 'COMMAND [ARGS]...'"),
        (("lb-no-such-command",), 127, "lb-no-such-command: no such command"),
        (("/",), 126, "/: Permission denied"),
        (("./shop.py",), 126, "./shop.py: a Python file: say logbus run -- python ./shop.py"),
        (("shop.py",), 127, "shop.py: a Python file: say logbus run -- python shop.py"),
        (("tool",), 127, "tool: no such command on PATH: say ./tool for the one here"),
        (("./tool",), 127, "./tool: the program that its first line names is not there"),
    ],
)
def test_what_can_not_be_run(working_directory: Path, command: tuple[str, ...], code: int, said: str) -> None:
    """The exit codes are those of a shell, and the line says what to do."""
    (working_directory / "shop.py").write_text("print(1)\n")
    tool = working_directory / "tool"
    tool.write_text("#!/no/such/interpreter\n")
    tool.chmod(0o755)
    done = run(*command)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--level", "loud"), "level 'loud'"),
        (("--endpoint", "http://h"), "expected ipc://PATH or tcp://127.0.0.1:PORT"),
        (("--name", "a/b"), "name 'a/b'"),
        (("--component", "x" * 200), "expected a name of at most 128 characters"),
    ],
)
def test_a_wrong_option_starts_nothing(options: tuple[str, ...], said: str) -> None:
    """Exit 2, before the command."""
    done = run(sys.executable, "-c", "print('started')", options=options)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_without_a_collector_it_starts_and_says_so() -> None:
    """One line, and the program does what it does."""
    done = run(sys.executable, "-c", "import logging; logging.warning('w')")
    assert done.returncode == 0
    assert done.stderr.splitlines()[1:] == ["WARNING:root:w"]
    assert "no collector listens at ipc://" in done.stderr.splitlines()[0]


def test_a_wrong_setting_of_a_process_is_told_and_stops_nothing(peer: Peer, program: Callable[[str], str]) -> None:
    """The program may change its environment, or be started in another: it goes on."""
    lines = """
    import subprocess
    child = "import logging; logging.warning('w'); print('done')"
    done = subprocess.run([sys.executable, "-c", child], env={**os.environ, "LOGBUS_CAPACITY": "none"})
    log.info("ended %d", done.returncode)
    """
    done = below(sys.executable, program(lines))
    first, second = done.stderr.splitlines()
    assert first.startswith("logbus run: LOGBUS_CAPACITY 'none': expected a number of records, at least 1 (records of")
    assert (second, done.stdout) == ("WARNING:root:w", "done\n")
    assert peer.arrivals.messages == ["ended 0"]


@pytest.mark.parametrize("flag", ["-S", "-I", "-E"])
def test_a_python_that_looks_at_nothing_is_left_alone(peer: Peer, flag: str) -> None:
    """``-S`` runs no sitecustomize, ``-I`` and ``-E`` read no variable: such a process is no worker."""
    done = below(sys.executable, flag, "-c", "import logging; logging.warning('w')")
    assert (done.returncode, done.stderr) == (0, "WARNING:root:w\n")
    assert peer.arrivals.messages == []


def test_a_python_without_logbus_says_so_once(peer: Peer, tmp_path: Path) -> None:
    """It goes on, and so do those that it starts."""
    import venv

    venv.create(tmp_path / "other", with_pip=False, symlinks=True)
    other = tmp_path / "other" / "bin" / "python"
    child = "import subprocess, sys; print(1); subprocess.run([sys.executable, '-c', 'print(2)'])"
    done = below(str(other), "-uc", child, PYTHONPATH="")
    assert (done.returncode, done.stdout) == (0, "1\n2\n")
    expected = f"logbus run: {other} is no worker: No module named 'logbus'; install logbus there too\n"
    assert done.stderr == expected


def test_below_itself_it_is_one(peer: Peer, program: Callable[[str], str]) -> None:
    """The inner options count, and a record arrives once."""
    lines = """
    log.info("once")
    print(os.environ["PYTHONPATH"].count("startup"))
    """
    inner = (sys.executable, "-m", "logbus", "run", "--app-name", "inner", "--", sys.executable, program(lines))
    done = run(*inner, options=("--app-name", "outer", "--component", "c"))
    assert (done.returncode, done.stdout) == (0, "1\n")
    (record,) = peer.arrivals.records
    assert (record.worker.partition("-")[0], record.message) == ("inner", "once")


def test_commands_of_logbus_are_no_workers(peer: Peer) -> None:
    """``logbus status`` in a shell below ``logbus run`` is what it is elsewhere."""
    done = below(sys.executable, "-m", "logbus", "record-schema")
    assert done.returncode == 0
    assert peer.arrivals.marks == []
    done = below(sys.executable, "-m", "logbus", "emit", "hello", "--component", "shop")
    assert (done.returncode, done.stderr) == (0, "")
    assert peer.arrivals.messages == ["hello"]


def test_the_shadowed_sitecustomize_runs(peer: Peer, tmp_path: Path, program: Callable[[str], str]) -> None:
    """Before the program, as the module that everybody finds under that name."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sitecustomize.py").write_text("import sys\nsys.mine = __name__\n")
    lines = """
    import sitecustomize
    print(sys.mine, sitecustomize.__file__)
    log.info("logged")
    """
    path = os.pathsep.join([str(tmp_path / "mine"), str(ROOT)])
    done = below(sys.executable, program(lines), PYTHONPATH=path)
    assert (done.stdout, done.stderr) == (f"sitecustomize {tmp_path}/mine/sitecustomize.py\n", "")
    assert peer.arrivals.messages == ["logged"]


def test_its_errors_are_its_own(peer: Peer, tmp_path: Path, program: Callable[[str], str]) -> None:
    """What ``site`` says of one that fails is what it says without us; the program is a worker all the same."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sitecustomize.py").write_text("raise OSError('not today')\n")
    path = os.pathsep.join([str(tmp_path / "mine"), str(ROOT)])
    lines = "log.info('logged')"
    done = below(sys.executable, program(lines), PYTHONPATH=path)
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "OSError: not today"
    assert "Error in sitecustomize" in done.stderr
    assert peer.arrivals.messages == ["logged"]


def test_what_never_logs_loads_nothing(unmeasured: None, peer: Peer) -> None:
    """A process that imports no logging has no ZeroMQ, no thread and no page; the resource tracker is such a one."""
    code = "import sys, _thread; print('zmq' in sys.modules, 'logging' in sys.modules, _thread._count())"
    done = below(sys.executable, "-c", code)
    assert (done.stdout, done.stderr) == ("False False 0\n", "")
    done = below(
        sys.executable, "-c", "import logging, sys; print(len({'pydantic', 'click', 'rich'} & set(sys.modules)))"
    )
    assert (done.stdout, done.stderr) == ("0\n", "")
    assert peer.arrivals.marks == []


def test_one_that_dies_without_having_logged_has_a_last_word(peer: Peer) -> None:
    """An exception that nobody catches is a record, in a program that knows no logging."""
    done = below(sys.executable, "-c", "1/0")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "ZeroDivisionError: division by zero")
    assert arrived(peer) == [("uncaught", "CRITICAL", "uncaught ZeroDivisionError: division by zero")]


def test_a_silent_worker_is_live_and_has_the_levels(peer: Peer, program: Callable[[str], str]) -> None:
    """It opens by itself, and a level reaches it; without a record nothing else would tell it."""
    lines = """
    while not log.isEnabledFor(logging.DEBUG):
        time.sleep(0.01)
    log.debug("heard")
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "logbus", "run", "--", sys.executable, program(lines)], env=child_environment()
    )
    eventually(lambda: peer.arrivals.marks, PATIENCE)
    peer.set_levels(Rule("shop", logging.DEBUG))
    assert process.wait(PATIENCE) == 0
    assert peer.arrivals.messages == ["heard"]


def test_the_levels_of_a_snapshot_hold_before_the_first_record(
    start_collector: Callable[..., Any], tmp_path: Path, program: Callable[[str], str]
) -> None:
    """What ``set-level`` has opened is open in the first line of a process that starts later."""
    start_collector("--sink", "file:out.jsonl")
    done = run_logbus("set-level", "DEBUG", "--component", "shop", "--force")
    assert done.returncode == 0, done.stderr
    assert below(sys.executable, program("log.debug('first')")).returncode == 0
    lines = eventually(lambda: [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()])
    assert "first" in [line["message"] for line in lines]
