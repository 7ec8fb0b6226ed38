"""Masks secrets in a batch, in place, before any format sees it: no sink can forget to.

Putting ten texts of each record through a dozen patterns would cost more than all other stages together, and nearly
all texts hold nothing, or are known. So a batch is looked at as a whole. Each of its values is taken once; messages
that were clean before are taken out, as are texts that were suspicious before, which are remembered with their masked
form. The others are joined, and RE2 goes through them with one pattern that is found wherever something could be masked
(``probe``). Only texts in which it is found meet the passes of
``mask.py``, each once and only those that could find something, and what changed is put in its places. URLs with
credentials and nothing else, which are new in each record where each session has a user of its own, go before all that
a way of their own (``mask_lone_urls``).

A newline stands between the joined texts, and no text is missed for what reaches across it. A search begins before a
text, and what it finds is the leftmost match from there. If a text has a match of its own, the leftmost one begins in
that text, which is then a suspect, or in an earlier one, and the search goes on behind the earlier one: it comes to
every text. What it finds across two texts is one suspect too many, and no harm. The users' own patterns can say where
a text begins and ends, so that they need more care (``eraser.py``). They are applied before the
passes, to the texts as they were logged.

Masked are messages, extra and nested keys and values, exceptions with their tracebacks and chains, thread names and
the names of the source and of call sites: a logger may be named for a URL. Numbers are looked at for the users'
patterns only.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

import msgspec

from logbus.collectors.compiled import NATIVE
from logbus.collectors.decode import Batch, Record, Site, Source
from logbus.collectors.packed import Packed
from logbus.collectors.redaction.leaves import (
    Changed,
    collect,
    collect_raised,
    columns_of,
    is_number,
    lines_of,
    masked_site,
    names_of,
    numbers_of,
    renamed,
    replace,
    replace_numbers,
    replace_raised,
)
from logbus.collectors.redaction.mask import (
    DEFAULT_FIELDS,
    MASK,
    SecretKeys,
    Signs,
    Verdict,
    Work,
    mask_lone_urls,
    mask_text,
    probe,
)
from logbus.collectors.unwanted import Wants, leave_out
from logbus.errors import ConfigurationError

if TYPE_CHECKING:
    from logbus.collectors._native import Rows
    from logbus.collectors.redaction.eraser import Eraser

__all__ = ["DEFAULT_FIELDS", "Redactor"]

#: Texts remembered with their masked form, and the longest of them in characters: messages repeat, and so do proxies
#: and their URLs.
_TEXTS_KEPT: Final = 4096
_TEXT_CHARS: Final = 512

#: Keys under which a pair stands as two: its key under the one, its value under the other.
_NAMED: Final = (("name", "value"), ("key", "value"), ("header", "value"), ("Name", "Value"), ("Key", "Value"))
#: Keys whose value another field may be the name of, and what the compiled part is told of keys.
_VALUES: Final = frozenset(value for _, value in _NAMED)
_VERDICTS: Final = {Verdict.PLAIN: 0, Verdict.SECRET: 1, Verdict.UNLESS_NUMBER: 2}
_STRANGE: Final = 3
_json = msgspec.json.Encoder().encode


class Redactor:
    """Masks the values of secret keys, and secrets in texts. One per collector, used by one thread.

    ``fields`` are the keys whose values are secret, matched as :class:`SecretKeys` says; what URLs, authorization
    schemes and the looks of a token give away is masked whatever they are. ``patterns`` are of RE2: what they match is
    masked, or what their groups match where they have groups. Raises ConfigurationError on an empty field and on a
    pattern that RE2 refuses or that matches where there is nothing.
    """

    def __init__(self, fields: Iterable[str] = DEFAULT_FIELDS, patterns: Sequence[str] = ()) -> None:
        self._rules = tuple(fields), tuple(patterns)
        self._keys = SecretKeys(self._rules[0])
        self._probe = probe(self._keys)
        self._signs = Signs(self._keys)
        self._erasers = _erasers(self._rules[1])
        #: Messages and names without anything suspicious.
        self._clean: set[str] = set()
        #: What suspicious texts become: many of them stay as they are.
        self._known: dict[str, str] = {}
        #: What is known of the keys of fields, as the compiled part is told it, and texts that it has met.
        self._judged: dict[str, int] = {}
        self._memo: Any = NATIVE.Memo(_TEXTS_KEPT, _TEXT_CHARS) if NATIVE is not None else None
        #: Call sites of which no name has to be masked.
        self._clean_sites: set[Site] = set()

    def twin(self) -> Redactor:
        """Another one with the same rules, for another thread."""
        return Redactor(*self._rules)

    def redact(self, batch: Batch, wants: Wants | None = None) -> None:
        """Masks the batch in place. Never raises on a batch that was decoded.

        ``wants`` is asked for the call sites whose records somebody may want. Those of the others become empty: what
        is not looked at does not stay.
        """
        work = Work(batch.count)
        self._redact_names(batch, work)
        wanted = wants(batch) if wants is not None else None
        if isinstance(batch, Packed) and batch.rows is not None:
            self._redact_rows(batch, batch.rows, wanted, work)
            return
        records = batch.records if wanted is None else leave_out(batch, wanted)
        self._redact_records(records, work)

    @property
    def takes_rows(self) -> bool:
        """Whether it can redact a :class:`~logbus.collectors.packed.Packed` batch without its records."""
        return not self._erasers

    def _redact_records(self, records: list[Record], work: Work) -> None:
        extras = [record.extra for record in records if record.extra]
        keys: set[str] = set().union(*extras)
        columns = columns_of(keys, extras)
        rare = [record for record in records if record.nested is not None or record.exception is not None]
        texts: list[Any] = []
        for record in rare:
            collect(record.nested, texts)
            collect_raised(record.exception, texts)
        messages = {record.message for record in records} - self._clean
        # Not from the sets, in which True may stand for 1.
        numbers = numbers_of([extras, *[record.nested for record in rare]]) if self._erasers else set()
        changed = self._changed(messages, messages.union(keys, texts, *columns.values()), numbers, work)
        secret = [key for key in keys if self._keys.verdict(key) is not Verdict.PLAIN]
        for key in secret:
            for extra in extras:
                if key in extra:
                    extra[key] = self._under(key, extra[key], changed)
        if "value" in keys or "Value" in keys:
            for extra in extras:
                self._mask_named(extra, extra)
        for record in rare:
            if record.nested is not None:
                record.nested = self._tree(record.nested, changed)
        if not changed:
            return
        if not changed.keys().isdisjoint(messages):
            for record in records:
                record.message = changed.get(record.message, record.message)
        for name, column in columns.items():
            if not changed.keys().isdisjoint(column):
                replace(name, extras, changed)
        if not changed.keys().isdisjoint(numbers):
            replace_numbers(extras, changed)
        if not changed.keys().isdisjoint(keys):
            for record in records:
                record.extra = record.extra and renamed(record.extra, changed)
        for record in rare:
            replace_raised(record.exception, changed)

    def _redact_rows(self, batch: Packed, rows: Rows, wanted: Sequence[bool] | None, work: Work) -> None:
        """The same where the records stay in their frame: texts are asked for by their bytes, few become objects."""
        memo = self._memo
        if wanted is not None:
            batch.leave_out(wanted)
        rows.judge(self._judge(rows.fields(), work))
        strange = batch.take_strange()
        whole = rows.look(memo)
        if b"@" in whole:
            texts = rows.holding(b"@")
            lone = mask_lone_urls(dict.fromkeys(texts.values()), self._signs, work)
            for number, text in texts.items():  # several may be of one text
                if (new := lone.get(text)) is not None:
                    rows.become(number, None if new == text else _json(new), memo)
            whole = rows.look(memo)
        search = self._probe.search
        match = search(whole)
        suspects: dict[str, list[int]] = {}
        while match is not None:
            # A match may begin with the newline before its text, and is then found again in that text.
            number, text, end = rows.found(match.start() + 1)
            suspects.setdefault(text, []).append(number)
            match = search(whole, end - 1)
        for text in sorted(suspects, key=len):  # a giant that takes all the steps there are comes last
            new = self._mask(text, work)
            known = len(text) <= _TEXT_CHARS and not work.overrun
            for number in suspects[text]:
                rows.become(number, None if new == text else _json(new), memo if known else None)
        rows.settle(memo)
        if strange:
            self._redact_records(strange, work)
        batch.redacted(lambda whole: self.redact(whole, None if wanted is None else lambda _: wanted))

    def _judge(self, keys: list[str], work: Work) -> bytes:
        """What is known of each key, in a byte: its verdict, or that its records are to be looked at one by one."""
        known = self._judged
        if unmet := {key for key in keys if key not in known}:
            if len(known) + len(unmet) > _TEXTS_KEPT:
                known.clear()
                unmet = set(keys)
            changed = self._changed(set(), set(unmet), set(), work)
            found = {
                key: _STRANGE if key in changed or key in _VALUES else _VERDICTS[self._keys.verdict(key)]
                for key in unmet
            }
            if work.overrun or len(found) > _TEXTS_KEPT or sum(map(len, unmet)) > _TEXT_CHARS * len(unmet):
                return bytes([found[key] if key in found else known[key] for key in keys])
            known.update(found)
        return bytes([known[key] for key in keys])

    def source(self, source: Source, names: list[str] | None = None) -> None:
        """Masks who speaks, and the names of loggers that he speaks of, in place: what comes without records."""
        names = names if names is not None else []
        texts = {source.host, source.worker, source.app_name, *names}.difference(self._clean)
        changed = self._changed(texts, set(texts), set(), Work()) if texts else None
        if changed:
            self._name(source, changed)
            names[:] = [changed.get(name, name) for name in names]

    def field(self, key: str, value: Any) -> Any:
        """The value of one field outside any batch, as a record would show it."""
        texts: list[Any] = [key]
        collect(value, texts)
        numbers = numbers_of(value) if self._erasers else set()
        return self._under(key, value, self._changed(set(), set(texts), numbers, Work()))

    def _name(self, source: Source, changed: Changed) -> None:
        source.host = changed.get(source.host, source.host)
        source.worker = changed.get(source.worker, source.worker)
        source.app_name = changed.get(source.app_name, source.app_name)

    def _redact_names(self, batch: Batch, work: Work) -> None:
        """Masks the names of the source, the threads and the call sites: nearly always they have been seen before."""
        source = batch.source
        sites = [site for site in batch.sites if site not in self._clean_sites]
        names = {source.host, source.worker, source.app_name, *batch.threads}.difference(self._clean)
        if not (names or sites):
            return
        changed = self._changed(names, names.union(*map(names_of, sites)), set(), work)
        if sites:
            self._redact_sites(batch, sites, changed)
        if changed:
            self._name(source, changed)
            batch.threads[:] = [changed.get(thread, thread) for thread in batch.threads]

    def _redact_sites(self, batch: Batch, sites: list[Site], changed: Changed) -> None:
        """Masks the names of the sites seen for the first time, or remembers that there is nothing to mask."""
        secret = {site for site in sites if not changed.keys().isdisjoint(names_of(site))}
        if len(self._clean_sites) >= _TEXTS_KEPT:
            self._clean_sites.clear()
        self._clean_sites.update(
            [site for site in sites if site not in secret and sum(map(len, names_of(site))) <= _TEXT_CHARS]
        )
        if secret:
            batch.sites[:] = [masked_site(site, changed) if site in secret else site for site in batch.sites]

    def _changed(self, messages: set[str], values: set[Any], numbers: set[str], work: Work) -> Changed:
        """What becomes of those of the values and numbers that have a masked form.

        The messages among the values, and the names given as such, that are not suspicious are clean from now on.
        """
        known = self._known
        unmet = values.difference(known)
        met = values.difference(unmet)
        changed = {text: new for text in met if (new := known[text]) != text}
        texts = list(unmet)
        try:
            whole = "\n".join(texts)
        except TypeError:  # scalars that are no texts, which few batches have
            texts = [value for value in texts if type(value) is str]
            whole = "\n".join(texts)
        lone = mask_lone_urls(texts, self._signs, work) if "@" in whole and not self._erasers else {}
        if lone:
            changed.update({text: new for text, new in lone.items() if new != text})
            if len(known) + len(lone) > _TEXTS_KEPT:
                known.clear()
            if len(lone) <= _TEXTS_KEPT:
                known.update(lone)
            texts = [text for text in texts if text not in lone]
            whole = "\n".join(texts)
        suspects = self._suspects(texts, _utf8(whole))
        if self._erasers:
            asked = numbers.union(texts)
            for eraser in self._erasers:
                suspects |= eraser.suspects(asked)
        if clean := messages.difference(suspects, met, lone):
            if sum(map(len, clean)) > _TEXT_CHARS * len(clean):  # giants are not worth the memory
                clean = {text for text in clean if len(text) <= _TEXT_CHARS}
            if len(self._clean) >= _TEXTS_KEPT:
                self._clean.clear()
            self._clean |= clean
        if suspects:
            for text in sorted(suspects, key=len):  # a giant that takes all the steps there are comes last
                new = self._mask(text, work)
                if new != text:
                    changed[text] = new
                if len(text) <= _TEXT_CHARS and not work.overrun:
                    if len(known) >= _TEXTS_KEPT:
                        known.clear()
                    known[text] = new
        return changed

    def _mask(self, text: str, work: Work) -> str:
        new = text
        for eraser in self._erasers:
            new = eraser.erase(new, work)
        return mask_text(new, self._keys, work, self._signs)

    def _suspects(self, texts: list[str], whole: bytes) -> set[str]:
        """Those of the texts, which are joined to one, in which there may be something to mask."""
        search = self._probe.search
        match = search(whole)
        found: set[str] = set()
        if match is None:
            return found
        lengths = map(len, texts if whole.isascii() else map(_utf8, texts))
        starts = list(accumulate([length + 1 for length in lengths], initial=0))
        while match is not None:
            # A match may begin with the newline before its text, and is then found again in that text.
            index = bisect_right(starts, match.start() + 1)
            found.add(texts[index - 1])
            match = search(whole, starts[index] - 1)
        return found

    def _under(self, key: str, value: Any, changed: Changed) -> Any:
        """What stands under a key, masked; a value was decoded, so that its depth is bounded."""
        verdict = self._keys.verdict(key)
        if verdict is Verdict.SECRET:
            return MASK
        if verdict is Verdict.UNLESS_NUMBER and not (value is None or type(value) in (int, float, bool)):
            return MASK
        return self._tree(value, changed)

    def _tree(self, value: Any, changed: Changed) -> Any:
        kind = type(value)
        if kind is dict:
            tree = {key: self._under(key, one, changed) for key, one in value.items()}
            self._mask_named(tree, value)
            return renamed(tree, changed)
        if kind is list:
            if len(value) == 2 and type(value[0]) is str:  # a header as a pair
                return [changed.get(value[0], value[0]), self._under(value[0], value[1], changed)]
            return self._list(value, changed)
        if kind is str:
            return changed.get(value, value)
        return changed.get(str(value), value) if is_number(value) else value

    def _list(self, items: list[Any], changed: Changed) -> list[Any]:
        lines = lines_of(items, changed)
        option = False
        masked: list[Any] = []
        for item, line in zip(items, lines, strict=True):
            text = type(item) is str
            if option and not (text and item.startswith("--")):
                masked.append(MASK)
            else:
                masked.append(line if text else self._tree(item, changed))
            # Arguments of a command: "--password", "…".
            option = text and item.startswith("-") and "=" not in item and self._is_secret(item)
        return masked

    def _mask_named(self, tree: dict[str, Any], mapping: dict[str, Any]) -> None:
        """Masks the value of a key that is a value itself: ``{"name": "DB_PASSWORD", "value": "…"}``."""
        for name, value in _NAMED:
            if value in mapping and type(key := mapping.get(name)) is str and self._is_secret(key):
                tree[value] = MASK
        location = mapping.get("loc") if "input" in mapping else None  # of an error of pydantic
        if type(location) is list and any(type(name) is str and self._is_secret(name) for name in location[-1:]):
            tree["input"] = MASK

    def _is_secret(self, key: str) -> bool:
        return self._keys.verdict(key) is Verdict.SECRET


def _erasers(patterns: Sequence[str]) -> list[Eraser]:
    """One for each of the users' patterns. Raises ConfigurationError, every problem with its place."""
    if not patterns:
        return []
    from logbus.collectors.redaction.eraser import (
        Eraser,  # with what reads configurations, which not every collector has
    )

    erasers: list[Eraser] = []
    problems: list[str] = []
    for index, pattern in enumerate(patterns):
        try:
            erasers.append(Eraser(pattern))
        except ConfigurationError as error:
            problems += [f"redaction.patterns[{index}]: {problem}" for problem in error.problems]
    if problems:
        raise ConfigurationError(problems)
    return erasers


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")  # a frame holds no lone surrogates; a batch made by hand may
