"""The control side of a collector: its doors, what workers are told, who may order what, and who follows the records.

It owns every socket but the one for records, and answers on the collector's thread between two turns of the data. What
a command does to the collector itself (stop, reload, status) comes in as a handler.
"""

from __future__ import annotations

import socket as network
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import zmq

from logbus.bus import Endpoint
from logbus.collectors.allowed import Allowed
from logbus.collectors.audit import Audit, Mask
from logbus.collectors.authority import Authority
from logbus.collectors.claim import Claim
from logbus.collectors.commands import Commands, Handler
from logbus.collectors.components import Components
from logbus.collectors.decode import Batch
from logbus.collectors.identities import Identities
from logbus.collectors.ledger import Ledger
from logbus.collectors.levels import DEFAULT, LevelBook
from logbus.collectors.mark import Mark, Names
from logbus.collectors.orders import LevelOrders
from logbus.collectors.own import OwnRecords
from logbus.collectors.publisher import Publisher
from logbus.collectors.roll import Roll
from logbus.collectors.tail import Tail
from logbus.collectors.zap import Doorkeeper


class Control:
    """Publisher, commands, level rules and doors of one collector; bound by :meth:`bind`.

    ``asked`` has the handlers of commands that anybody may send who gets in, ``ordered`` of those that change
    something: they are guarded and audited. ``report`` says what is wrong with a file of the state. Made before any
    socket of the context is bound, since it has the doorkeeper.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        name: str,
        *,
        control: Endpoint,
        state: Path,
        ledger: Ledger,
        roll: Roll,
        own: OwnRecords,
        allowed: Allowed | None,
        identities: Identities | None,
        levels: Mapping[str, int] | None,
        asked: Mapping[str, Handler],
        ordered: Mapping[str, Handler],
        tell: Callable[[str], None],
        report: Callable[[str], None],
        mask: Mask | None = None,
    ) -> None:
        audit = Audit(state, own=own, tell=tell, mask=mask)
        self._endpoint = control
        self._doorkeeper = Doorkeeper(
            context,
            allowed=allowed.uids if allowed is not None else (),
            tell=lambda refusal: refusal.enter(audit, version=self.publisher.state.levels.version),
        )
        self._components = Components(state, tell=report, configured={*(levels or ())} - {DEFAULT})
        book = LevelBook(
            state,
            ledger,
            snapshot=control.levels,
            publish=lambda found: self.publisher.say(levels=found),
            tell=report,
            configured=levels,
            group=allowed.gid if allowed is not None else None,
        )
        self._authority = Authority(name, audit, version=lambda: book.levels.version)
        self.publisher = Publisher(context, ledger=ledger.id, name=name, levels=book.levels, identities=identities)
        self.orders = LevelOrders(
            book,
            self._components,
            roll,
            self.publisher,
            audit=audit,
            authority=self._authority,
            host=network.gethostname(),
        )
        self.publisher.confirmed = self.orders.confirmed
        self._tail = Tail(name)
        self._commands = Commands(
            context,
            {
                **asked,
                **{command: self._authority.guard(handler) for command, handler in ordered.items()},
                **self.orders.handlers(),
                "tail": self._tail.follow,
                "tail_renew": self._tail.renew,
            },
        )
        self._tail.socket = self._commands.socket

    def bind(self, claim: Claim) -> None:
        """Binds the sockets to an endpoint that is claimed. Raises EndpointError, OwnedError."""
        claim.bind(self.publisher.socket, self._endpoint.publisher, to_allowed=True)
        claim.bind(self._commands.socket, self._endpoint)

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        """What the loop has to poll."""
        return [self._doorkeeper.socket, self.publisher.socket, self._commands.socket]

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for an answer that is not ready yet."""
        return self._commands.waiting

    @property
    def eager(self) -> bool:
        """Whether level rules were published a moment ago, and not every worker has confirmed them."""
        return self.orders.eager

    def answer(self, ready: Mapping[Any, int]) -> None:
        """Takes in what has come on the sockets that are ready."""
        if self._doorkeeper.socket in ready:
            self._doorkeeper.answer()
        if self.publisher.socket in ready:
            self.publisher.listen()
        if self._commands.socket in ready:
            self._commands.read()

    def settle(self) -> None:
        """Makes the answers that are ready by now."""
        self._commands.settle()

    def heard(self, producer: bytes, arrival: Batch | Mark | Names) -> None:
        """Takes in what a worker has sent, once the ledger has it."""
        if isinstance(arrival, Batch):
            self._components.learn(arrival.sites)
        elif isinstance(arrival, Mark):
            self.orders.heard(producer, arrival)
        else:
            self._components.learn_names(arrival.names)

    @property
    def followed(self) -> bool:
        """Whether anybody follows what comes."""
        return bool(self._tail)

    def show(self, batches: Sequence[Batch]) -> None:
        """Shows redacted records to those who follow them."""
        if self._tail:
            self._tail.show(batches)

    def sweep(self) -> None:
        """What time brings: rules that end, refusals that were only counted, followers that are gone."""
        self.orders.tick()
        self._doorkeeper.tell_rest()
        self._tail.sweep()

    def drain(self) -> None:
        """Tells those who follow that the collector ends."""
        self._tail.drain()

    def status(self) -> dict[str, Any]:
        """What the status says of it."""
        return {
            "refused_connections": self._doorkeeper.refused.total(),
            "refused": self._doorkeeper.by_door(),
            "refused_commands": dict(self._authority.refused),
        }

    def close(self) -> None:
        """Answers what waits, keeps what is known, closes every socket."""
        self._commands.close()
        self._components.write(now=True)
        self.publisher.close()
        self._doorkeeper.close()
