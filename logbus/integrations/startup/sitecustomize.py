"""Runs at the start of every Python below ``logbus run``, before its program: makes it a worker.

Any Python may come by here, of any version and with anything installed: so this file is written for all of them, and
imports next to nothing. The ``sitecustomize`` that it stands before runs first, as if this one were not there; what
that one raises is shown as ever, by ``site``. Where no worker can be made of a process it says why, in one line on
stderr, once for the process and all that come of it, and the program goes on.
"""

import os
import sys

#: Where a process leaves the prefix of its Python once it has said that this one can't be a worker.
_TOLD = "LOGBUS_RUN_TOLD"
#: The oldest Python on which logbus runs.
_OLDEST = (3, 11)


def _run_shadowed():
    # type: () -> None
    """Runs the sitecustomize that is found without this folder, if there is one, in the place of this module."""
    if sys.version_info < (3, 5):  # noqa: UP036 (any Python may come by)
        return
    import importlib.machinery

    here = os.path.dirname(os.path.abspath(__file__))
    path = [entry for entry in sys.path if os.path.abspath(entry or os.curdir) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    if spec is None or spec.loader is None:
        return
    import importlib.util

    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


def _tell(reason):
    # type: (str) -> None
    if os.environ.get(_TOLD) != sys.prefix:
        os.environ[_TOLD] = sys.prefix
        if sys.stderr is not None:
            sys.stderr.write("logbus run: %s is no worker: %s\n" % (sys.executable, reason))  # noqa: UP031


def _become_worker():
    # type: () -> None
    if not os.environ.get("LOGBUS_RUN"):
        return
    if sys.version_info < _OLDEST:
        _tell("it is Python %d.%d, and logbus needs %d.%d" % (sys.version_info[:2] + _OLDEST))  # noqa: UP031
        return
    try:
        from logbus.integrations.attach import arrange

        arrange()
    except Exception as error:
        _tell("%s; install logbus there too" % error)  # noqa: UP031


try:
    _run_shadowed()
finally:
    _become_worker()
