"""Masks secrets in a batch, in place, before any format sees it: no sink can forget to.

Putting ten texts of each record through a dozen patterns would cost more than all other stages together, and nearly
all texts hold nothing, or are known. So a batch is looked at as a whole. Each of its values is taken once; messages
that were looked at before, and texts whose masked form is remembered, are taken out. The others are joined: whatever
could be masked has ``@`` or ``%40`` in it, or one of a dozen lower-case literals such as "token"
(:attr:`SecretKeys.literals`). Only texts in which one of these stands meet a pattern, each once, and what changed is
put in its places.

A dozen searches through the joined text would still be dear. One ``translate`` folds case and takes away all but the
letters of :data:`_BONES`, which leaves a third of the bytes, and the literals, reduced in the same way ("token" to
"tkn"), are sought in this skeleton. What is contiguous stays contiguous, so this finds too much at times and never
too little; what is found there is sought in the text itself.

Masked are messages, extra and nested keys and values, exceptions with their tracebacks and chains, thread names and
the names of the source and of call sites: a logger may be named for a URL.
"""

from __future__ import annotations

import string
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, Final

from logbus.collectors.decode import Batch, Raised, Scalar, Site
from logbus.collectors.mask import DEFAULT_FIELDS, MASK, SCHEMES, SecretKeys, Verdict, mask_pairs, mask_urls

__all__ = ["DEFAULT_FIELDS", "Redactor"]

#: Letters of the skeleton: those of the usual literals, without the ones that are everywhere in prose.
_BONES: Final = b"bchkprstwydu"
#: Texts remembered as clean, texts remembered with their masked form, and the longest of them in characters: messages
#: repeat, and so do proxies and their URLs.
_TEXTS_KEPT: Final = 4096
_TEXT_CHARS: Final = 512

_FOLD: Final = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_DROPPED: Final = bytes(byte for byte in range(256) if byte not in _BONES + _BONES.upper())

_Extra = dict[str, Scalar]


class Redactor:
    """Masks the values of secret keys, and secrets in texts. One per collector, used by one thread.

    ``fields`` are the keys whose values are secret, matched as :class:`SecretKeys` says; what URLs and
    authorization schemes give away is masked whatever they are. Raises ConfigurationError on an empty field.
    """

    def __init__(self, fields: Iterable[str] = DEFAULT_FIELDS) -> None:
        self._keys = SecretKeys(fields)
        literals = sorted({*self._keys.literals, *SCHEMES})
        self._literals = [(text.encode(), text.encode().translate(_FOLD, _DROPPED)) for text in literals]
        #: Texts that the patterns leave as they are.
        self._clean: set[str] = set()
        #: Call sites of which no name has to be masked.
        self._clean_sites: set[Site] = set()
        #: Texts that they change, and into what.
        self._masked: dict[str, str] = {}

    def redact(self, batch: Batch) -> None:
        """Masks the batch in place. Never raises on a batch that was decoded."""
        records, source, clean = batch.records, batch.source, self._clean
        extras = [record.extra for record in records if record.extra]
        keys: set[str] = set().union(*extras)
        columns = _columns(keys, extras)
        rare = [record for record in records if record.nested is not None or record.exception is not None]
        texts = [source.host, source.worker, source.app_name, *batch.threads, *keys]
        for record in rare:
            _collect(record.nested, texts)
            _collect_raised(record.exception, texts)
        sites = [site for site in batch.sites if site not in self._clean_sites]
        for site in sites:
            texts += _names(site)
        others = [text for text in texts if text not in clean]
        for column in columns.values():
            others += [value for value in column if type(value) is str and value not in clean]
        messages = {message for message in [record.message for record in records] if message not in clean}

        changed = self._changed(messages, others)
        if sites:
            self._redact_sites(batch, sites, changed)
        if not changed.keys().isdisjoint(messages):
            for record in records:
                if record.message in changed:
                    record.message = changed[record.message]
        for key in keys:
            if self._keys.verdict(key) is not Verdict.PLAIN:
                for extra in extras:
                    if key in extra:
                        extra[key] = self._under(key, extra[key], changed)
        for record in rare:
            record.nested = self._tree(record.nested, changed)
        if not changed:
            return
        for name, column in columns.items():
            if not changed.keys().isdisjoint(column):
                _replace(name, extras, changed)
        if not changed.keys().isdisjoint(keys):
            for record in records:
                record.extra = record.extra and _renamed(record.extra, changed)
        for record in rare:
            _replace_raised(record.exception, changed)
        source.host = changed.get(source.host, source.host)
        source.worker = changed.get(source.worker, source.worker)
        source.app_name = changed.get(source.app_name, source.app_name)
        batch.threads[:] = [changed.get(thread, thread) for thread in batch.threads]

    def _redact_sites(self, batch: Batch, sites: list[Site], changed: dict[str, str]) -> None:
        """Masks the names of the sites seen for the first time, or remembers that there is nothing to mask."""
        secret = {site for site in sites if not changed.keys().isdisjoint(_names(site))}
        if len(self._clean_sites) >= _TEXTS_KEPT:
            self._clean_sites.clear()
        self._clean_sites.update([site for site in sites if site not in secret])
        if secret:
            batch.sites[:] = [_masked_site(site, changed) if site in secret else site for site in batch.sites]

    def _changed(self, messages: set[str], others: list[str]) -> dict[str, str]:
        """What the masked form of each text is that has one; what has none among the messages is clean from now on."""
        masked = self._masked
        texts = [*messages, *others]
        changed = {text: masked[text] for text in texts if text in masked}
        clean = messages.difference(changed)
        for text in self._suspects([text for text in texts if text not in changed]):
            new = mask_pairs(mask_urls(text), self._keys)
            if new == text:
                clean.add(text)
                continue
            changed[text] = new
            clean.discard(text)
            if len(text) <= _TEXT_CHARS:
                if len(masked) >= _TEXTS_KEPT:
                    masked.clear()
                masked[text] = new
        if len(self._clean) >= _TEXTS_KEPT:
            self._clean.clear()
        self._clean.update([text for text in clean if len(text) <= _TEXT_CHARS])
        return changed

    def _suspects(self, texts: list[str]) -> list[str]:
        """Those of the texts in which there may be something to mask."""
        # Nothing stands between them: what is found across two texts is one suspect too many, and no harm.
        whole = "".join(texts).encode("utf-8", "surrogatepass")
        skeleton = whole.translate(_FOLD, _DROPPED)
        needles = [literal for literal, bones in self._literals if bones in skeleton]
        needles += [sign for sign in (b"@", b"%40") if sign in whole]
        if not needles:
            return []
        lengths = map(len, texts if whole.isascii() else [text.encode("utf-8", "surrogatepass") for text in texts])
        ends = list(accumulate(lengths))
        lowered = whole.lower()
        found: set[int] = set()
        for needle in needles:
            at = lowered.find(needle)
            while at >= 0:
                index = bisect_right(ends, at)
                found.add(index)
                at = lowered.find(needle, ends[index])
        return [texts[index] for index in found]

    def _under(self, key: str, value: Any, changed: dict[str, str]) -> Any:
        """What stands under a key, masked; a value was decoded, so that its depth is bounded."""
        verdict = self._keys.verdict(key)
        if verdict is Verdict.SECRET:
            return MASK
        if verdict is Verdict.UNLESS_NUMBER and not (value is None or type(value) in (int, float, bool)):
            return MASK
        return self._tree(value, changed)

    def _tree(self, value: Any, changed: dict[str, str]) -> Any:
        kind = type(value)
        if kind is str:
            return changed.get(value, value)
        if kind is dict:
            return _renamed({key: self._under(key, one, changed) for key, one in value.items()}, changed)
        if kind is list:
            if len(value) == 2 and type(value[0]) is str:  # a header as a pair
                return [changed.get(value[0], value[0]), self._under(value[0], value[1], changed)]
            return [self._tree(one, changed) for one in value]
        return value


def _names(site: Site) -> tuple[str, ...]:
    return site.logger, site.level_name, site.module, site.function, site.component


def _masked_site(site: Site, changed: dict[str, str]) -> Site:
    logger, level_name, module, function, component = (changed.get(name, name) for name in _names(site))
    return Site(logger, site.level_no, level_name, module, function, site.line, component)


def _renamed(mapping: dict[str, Any], changed: dict[str, str]) -> dict[str, Any]:
    """The mapping with its keys masked; two that become one stay two."""
    renamed: dict[str, Any] = {}
    for key, value in mapping.items():
        new = name = changed.get(key, key)
        again = 1
        while new in renamed:
            again += 1
            new = f"{name}~{again}"
        renamed[new] = value
    return renamed


def _columns(keys: set[str], extras: list[_Extra]) -> dict[str | None, set[Scalar]]:
    """The values under each key, each once. Under None those of all keys, where the records don't have the same."""
    if sum(map(len, extras)) == len(keys) * len(extras):
        return {key: {extra[key] for extra in extras} for key in keys}
    return {None: set().union(*[extra.values() for extra in extras])}


def _replace(name: str | None, extras: list[_Extra], changed: dict[Any, str]) -> None:
    """Puts what has changed in its place: under one key that all have, or wherever it stands."""
    if name is not None:
        for extra in extras:
            value = extra[name]
            extra[name] = changed.get(value, value)
        return
    for extra in extras:
        if not changed.keys().isdisjoint(extra.values()):
            for key, value in extra.items():
                if value in changed:
                    extra[key] = changed[value]


def _collect(value: Any, texts: list[str]) -> None:
    """Adds the texts of a nested value."""
    kind = type(value)
    if kind is str:
        texts.append(value)
    elif kind is dict:
        texts += value
        for one in value.values():
            _collect(one, texts)
    elif kind is list:
        for one in value:
            _collect(one, texts)


def _chain(raised: Raised | None) -> list[Raised]:
    """An exception and all that hang on it."""
    chain = [] if raised is None else [raised]
    for one in chain:
        chain += one.members
        chain += [linked for linked in (one.cause, one.context) if linked is not None]
    return chain


def _collect_raised(raised: Raised | None, texts: list[str]) -> None:
    for one in _chain(raised):
        texts += (one.type, one.message, *one.traceback)


def _replace_raised(raised: Raised | None, changed: dict[str, str]) -> None:
    for one in _chain(raised):
        one.type, one.message = changed.get(one.type, one.type), changed.get(one.message, one.message)
        one.traceback[:] = [changed.get(line, line) for line in one.traceback]
