"""How a worker of celery's sets its logging up with us in it: nobody's handlers go, and each record arrives once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.eventually import eventually
from tests.peer import Peer
from tests.worker import Worker

StartWorker = Callable[..., Worker]

#: Makes a real worker, up to where it would connect to its broker, and says what it has made of logging.
SETUP = """
from celery import Celery, signals
from celery.utils.log import get_task_logger
import logbus.integrations.celery as integration
app = Celery("shop", broker="memory://", set_as_current=False)

def start(level="WARNING"):
    worker = app.Worker(hostname="w@h", loglevel=level, pool="solo")
    signals.celeryd_after_setup.send(sender="w@h", instance=worker, conf=app.conf)
    signals.worker_process_init.send(sender="w@h")

def told(logger):
    handlers = [handler for handler in logging.getLogger(logger).handlers if type(handler) is not logging.NullHandler]
    return [(type(handler).__name__, handler.level) for handler in handlers]

def look(**more):
    root = logging.getLogger()
    say(root=told(None), level=root.level, task=told("celery.task"), hijack=app.conf.worker_hijack_root_logger,
        own=app.conf.worker_redirect_stdouts, **more)
"""
WARNING, INFO, DEBUG, ERROR = 30, 20, 10, 40
OURS = ["LogbusHandler", 0]


def test_celerys_own_output_stays_and_each_record_arrives_once(peer: Peer, start_worker: StartWorker) -> None:
    """Where the application has no handlers celery's are there, at the level of -l, and every logger reaches us."""
    script = f"""{SETUP}
integration.install(app)
start()
look()
get_task_logger("shop.tasks").info("of a task")
logging.getLogger("shop").info("of the application")
logging.getLogger("multiprocessing").error("of the pool")
get_task_logger("shop.tasks").warning("shown, too")
"""
    said = start_worker(script).finish()
    assert said["root"] == [["StreamHandler", WARNING], OURS]
    assert said["task"] == [["StreamHandler", WARNING], OURS]
    assert said["level"] == INFO
    messages = ["of a task", "of the application", "of the pool", "shown, too"]
    assert [message for message in peer.arrivals.messages if "hostname" not in message] == messages


@pytest.mark.parametrize(
    ("before", "options", "root", "level"),
    [
        ("logging.basicConfig()", "", [["StreamHandler", 0], OURS], INFO),
        ("logging.getLogger().addHandler(logging.NullHandler())", "'ERROR'", None, INFO),
        ("", "'DEBUG'", [["StreamHandler", DEBUG], OURS], DEBUG),
        ("logbus.configure(level='ERROR', worker='mine')", "'INFO'", [["StreamHandler", INFO], OURS], ERROR),
        ("logging.getLogger().addHandler(logbus.LogbusHandler(worker='mine', level=10))", "", None, INFO),
        ("signals.setup_logging.connect(nothing)", "'DEBUG'", [OURS], INFO),
    ],
)
def test_what_was_there_stays(
    peer: Peer, start_worker: StartWorker, before: str, options: str, root: Any, level: int
) -> None:
    """Handlers, a producer, a level and a set-up of the application's own are as it made them."""
    script = f"""{SETUP}
def nothing(**_):
    pass
{before}
integration.install(app)
handlers = logging.getLogger().handlers[:]
start({options})
look(kept=all(handler in logging.getLogger().handlers for handler in handlers))
logging.getLogger("shop").error("hello")
"""
    said = start_worker(script).finish()
    assert said["kept"]
    assert said["root"] == root or root is None
    assert said["level"] == level
    assert [name for name, _ in said["root"]].count("LogbusHandler") == 1
    [record] = [record for record in peer.arrivals.records if record.message == "hello"]
    assert record.worker == "mine" or "mine" not in before


def test_the_end_of_a_child(peer: Peer, start_worker: StartWorker) -> None:
    """A child of a pool drains by celery's own signal, behind every receiver of the application's."""
    script = f"""{SETUP}
integration.install(app)
@signals.worker_process_shutdown.connect
def at_the_end(**_):
    log.info("at the end")
start()
signals.worker_process_shutdown.send(sender="w@h", pid=os.getpid(), exitcode=0)
os._exit(0)
"""
    start_worker(script).finish()
    assert peer.arrivals.messages[-1] == "at the end"
    assert eventually(lambda: len(peer.arrivals.byes) == 1)


def test_below_logbus_run(peer: Peer, start_worker: StartWorker) -> None:
    """There celery's logging is what it is without us, down to what it does to the root logger; records arrive once."""
    script = f"""{SETUP}
import logbus.integrations.attach
logbus.integrations.attach.attach()
logging.getLogger().addHandler(logging.StreamHandler())
integration.install(app)
start('INFO')
look()
get_task_logger("shop.tasks").info("of a task")
logging.getLogger("shop").warning("of the application")
"""
    said = start_worker(script, LOGBUS_RUN="1").finish()
    assert said["root"] == said["task"] == [["StreamHandler", 0]]
    assert (said["level"], said["hijack"]) == (INFO, True)
    assert [message for message in peer.arrivals.messages if message.startswith("of ")] == [
        "of a task",
        "of the application",
    ]


def test_arguments_stay_out_below_logbus_run(peer: Peer, start_worker: StartWorker) -> None:
    """A worker whose application knows nothing of us tells no more of a task than celery's own line does."""
    script = """
import logbus.integrations.attach
logbus.integrations.attach.attach()
import celery.app.trace
data = {"id": "1", "args": "('open sesame',)"}
logging.getLogger("celery.app.trace").warning("Task %(id)s done", data, extra={"data": data})
"""
    start_worker(script, LOGBUS_RUN="1").wait()
    assert peer.arrivals.messages == ["Task 1 done"]
    assert "sesame" not in repr(peer.arrivals.records)


def test_settings_and_the_way_back(peer: Peer, start_worker: StartWorker) -> None:
    """install() takes the settings of configure(); uninstall() leaves celery as it was before."""
    script = f"""{SETUP}
names = [name for name in dir(signals) if isinstance(getattr(getattr(signals, name), "receivers", None), list)]
def receivers():
    return {{name: len(getattr(signals, name).receivers) for name in names}}
before = receivers()
integration.install(app, worker="till-7")
integration.install(app, worker="till-8")
during = receivers()
start()
logging.getLogger("shop").info("hello")
integration.uninstall()
integration.uninstall()
look(before=before, after=receivers(), most=max(during[name] - before[name] for name in names))
"""
    said = start_worker(script).finish()
    assert said["before"] == said["after"]
    assert said["most"] == 1
    assert said["hijack"] is True
    assert said["task"] == [["StreamHandler", WARNING]]
    [record] = [record for record in peer.arrivals.records if record.message == "hello"]
    assert record.worker == "till-8"


def test_without_celery(start_worker: StartWorker) -> None:
    """The integration can be imported, loads nothing of celery's by that, and says at its use what is missing."""
    script = """
    import logbus.integrations.celery as integration
    loaded = [name for name in sys.modules if name.split(".")[0] in ("celery", "kombu", "billiard")]
    sys.modules["celery"] = None
    try:
        integration.install()
    except logbus.LogbusError as error:
        say(loaded=loaded, error=str(error))
    """
    said = start_worker(script).finish()
    assert said["loaded"] == []
    assert said["error"].startswith("logbus.integrations.celery: expected celery to be installed, found: ")
