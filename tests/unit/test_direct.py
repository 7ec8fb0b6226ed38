"""What stands for loguru's logger in a module: it obeys the rules of that module, and is loguru's in all else."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from logbus.producers.direct import Direct
from logbus.producers.loguru_front import LOGURU
from logbus.producers.producer import producer_for
from logbus.producers.settings import resolve
from logbus.rules import Rule
from tests.kept import Kept
from tests.modules import SOURCE, Make, begin, modules, real


@pytest.fixture
def module() -> Iterator[Make]:
    """Makes modules of an application."""
    with modules() as make:
        yield make


def test_rules_change_the_methods_of_the_modules_they_cover(module: Make, kept: Kept) -> None:
    """DEBUG for one module makes its calls live; the other's go on doing nothing, and a reset ends it."""
    till, stock = module(), module("shop.stock")
    begin(kept)
    kept.rule(Rule("till", 10), Rule("stock", 40))
    for each in (till, stock):
        for method in ("trace", "debug", "info", "error"):
            each.call(method, f"{each.__name__} {method}")
    assert kept.messages == ["shop.till debug", "shop.till info", "shop.till error", "shop.stock error"]
    assert till.logger.trace is stock.logger.debug  # the one function that does nothing
    kept.rule()
    till.call("debug", "below again")
    assert kept.last.message == "shop.stock error"


def test_what_is_loguru_s_own_goes_through_its_handler_once(module: Make, kept: Kept) -> None:
    """bind, opt, patch and catch give loguru's loggers, whose records come by our handler."""
    till = module()
    begin(kept)
    till.bound(user_id=1)
    assert (kept.last.message, kept.last.extra, kept.last.site[0]) == ("bound", {"user_id": 1}, "shop.till")
    till.logger.opt(lazy=True).info("value {}", lambda: 7)
    till.logger.patch(lambda record: record["extra"].update(patched=True)).info("patched")
    till.logger.catch(message="caught")(lambda: int("no"))()
    assert kept.messages == ["bound", "value 7", "patched", "caught"]
    kept.rule(Rule("test_direct", 10))
    till.logger.opt(depth=0).debug("by depth")
    assert kept.messages[-1] == "by depth"


def test_another_module_s_call_is_gated_and_named_by_its_own(module: Make, kept: Kept) -> None:
    """A logger that came by an import is the other module's until the next look, and then the importer's own."""
    till = module()
    begin(kept)
    kept.rule(Rule("stock", 40))
    source = SOURCE.replace("from loguru", "from shop.till")
    stock = module("shop.stock", source)
    assert stock.logger is till.logger
    stock.call("info", "silenced")
    stock.call("error", "named")
    assert [(entry.message, entry.site[0]) for entry in kept.entries] == [("named", "shop.stock")]
    kept.rule(Rule("stock", 10))
    assert stock.logger is not till.logger
    stock.call("debug", "its own")
    assert kept.last.site[0] == "shop.stock"


def test_it_passes_for_loguru_s_logger(module: Make, kept: Kept) -> None:
    """Type, equality, repr, copies and attributes are those of the logger whose place it takes."""
    till = module()
    begin(kept)
    direct: Any = till.logger
    kind: type = type(direct)
    assert kind is Direct
    assert isinstance(direct, type(real()))
    assert direct.__class__ is type(real())
    assert direct == real()
    assert real() == direct
    assert hash(direct) == hash(real())
    assert repr(direct) == repr(real())
    assert copy.copy(direct) is direct
    assert copy.deepcopy([direct])[0] is direct
    assert direct.level("INFO").no == 20
    with pytest.raises(AttributeError):
        _ = direct.nothing


def test_what_the_application_puts_upon_the_logger_is_shared(module: Make, kept: Kept) -> None:
    """A method of one's own is there for every module; a patch of one that logs is called, and can be undone."""
    till, stock = module(), module("shop.stock")
    begin(kept)
    till.logger.audit = lambda text: stock.logger.info(f"audit: {text}")
    stock.call("audit", "x")
    del till.logger.audit
    assert not hasattr(stock.logger, "audit")
    seen: list[str] = []
    with mock.patch.object(till.logger, "info", seen.append):
        till.call("info", "seen")
    till.call("info", "not patched any more")
    kept.rule(Rule("till", 30))
    till.call("info", "below")
    assert seen == ["seen"]
    assert kept.messages[1:] == ["not patched any more"]
    assert "info" not in vars(real())


def test_a_pickled_logger_logs_where_this_one_does(module: Make) -> None:
    """A child that is spawned gets loguru's logger with our handler, for a producer of the same settings."""
    till = module()
    LOGURU.begin(producer_for(resolve({"worker": "w"})), level=20)
    again = pickle.loads(pickle.dumps(till.logger))
    assert type(again) is type(real())
    [handler] = again._core.handlers.values()
    assert handler._filter.__self__.producer is producer_for(resolve({"worker": "w"}))
    assert handler._filter.__self__.level == 20
    again.remove()


def test_a_forked_child_goes_on(module: Make, kept: Kept) -> None:
    """What was direct is direct in the child, which takes rules of its own."""
    till = module()
    begin(kept)
    fork = multiprocessing.get_context("fork")
    queue = fork.SimpleQueue()

    def child() -> None:
        till.call("debug", "below")
        till.call("info", "in the child")
        kept.gate.after_fork()
        kept.rule(Rule("till", 10))
        till.call("debug", "by a rule")
        queue.put(kept.messages)

    process = fork.Process(target=child)
    process.start()
    assert queue.get() == ["in the child", "by a rule"]
    process.join()
    queue.close()
    process.close()
    assert kept.messages == []


def test_loguru_itself_keeps_its_logger(module: Make, kept: Kept) -> None:
    """What is imported later is loguru's own object, until it is looked at."""
    module()
    begin(kept)
    untouched: Any = real()
    assert type(untouched) is not Direct
