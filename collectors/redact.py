"""Masks secrets in a batch, in place, before any format sees it: no sink can forget to.

Putting ten texts of each record through a dozen patterns would cost more than all other stages together, and nearly
all texts hold nothing. So a batch is looked at as a whole first. Its texts, each value once, are joined; whatever
could be masked has ``@`` or ``%40`` in it, or one of a dozen lower-case literals such as "token"
(:attr:`SecretKeys.literals`). Only texts with what was found there meet a pattern, each once, and what changed is
put in its places.

A dozen searches through the joined text would still be the dearest part. One ``translate`` folds case and takes
away all but the letters of :data:`_BONES`, which leaves a third of the bytes, and the literals, reduced in the same
way ("token" to "tkn"), are sought in this skeleton. What is contiguous stays contiguous, so this finds too much at
times and never too little; a find is confirmed in the text itself.

Masked are messages, extra and nested keys and values, exceptions with their tracebacks and chains, thread names and
the names of the source. Call sites (logger, function, …) are code and are left alone.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Any, Final

from logbus.collectors.decode import Batch, Raised, Scalar
from logbus.collectors.mask import DEFAULT_FIELDS, MASK, SCHEMES, SecretKeys, Verdict, mask_pairs, mask_urls

__all__ = ["DEFAULT_FIELDS", "Redactor"]

#: Letters of the skeleton: those of the usual literals, without the ones that are everywhere in prose.
_BONES: Final = b"bchkprstwydu"
#: Masked texts remembered, and the longest of them in characters: proxies and their URLs repeat.
_TEXTS_KEPT: Final = 4096
_TEXT_CHARS: Final = 512

_FOLD: Final = bytes.maketrans(string.ascii_uppercase.encode(), string.ascii_lowercase.encode())
_DROPPED: Final = bytes(byte for byte in range(256) if byte not in _BONES + _BONES.upper())


class Redactor:
    """Masks the values of secret keys, and secrets in texts. One per collector, used by one thread.

    ``fields`` are the keys whose values are secret, matched as :class:`SecretKeys` says; what URLs and
    authorization schemes give away is masked whatever they are. Raises ConfigurationError on an empty field.
    """

    def __init__(self, fields: Iterable[str] = DEFAULT_FIELDS) -> None:
        self._keys = SecretKeys(fields)
        literals = sorted({*self._keys.literals, *SCHEMES})
        self._literals = [(text, text.encode(), text.encode().translate(_FOLD, _DROPPED)) for text in literals]
        self._masked: dict[str, str] = {}

    def redact(self, batch: Batch) -> None:
        """Masks the batch in place. Never raises on a batch that was decoded."""
        records = batch.records
        messages = [record.message for record in records]
        extras = [record.extra for record in records if record.extra]
        keys: set[str] = set().union(*extras)
        values: set[Scalar] = set().union(*[extra.values() for extra in extras])
        rare = [record for record in records if record.nested is not None or record.exception is not None]
        others = [batch.source.host, batch.source.worker, batch.source.app_name, *batch.threads, *keys]
        others += [value for value in values if type(value) is str]
        for record in rare:
            _collect(record.nested, others)
            _collect_raised(record.exception, others)

        whole = "\n".join((*messages, *others)).encode("utf-8", "surrogatepass")
        words = self._words_in(whole)
        encoded = b"%40" in whole
        if not words and not encoded and b"@" not in whole:
            return
        secret = {key for key in keys if self._keys.verdict(key) is not Verdict.PLAIN} if words else set()

        if changed := self._changed(messages, words, encoded):
            for record in records:
                record.message = changed.get(record.message, record.message)
        changed = self._changed(others, words, encoded)
        for extra in extras if secret else ():
            for key in secret.intersection(extra):
                extra[key] = self._under(key, extra[key], changed)
        if changed:
            for extra in extras:
                for key, value in extra.items():
                    if value in changed:
                        extra[key] = changed[value]
            if not changed.keys().isdisjoint(keys):
                for record in records:
                    record.extra = record.extra and _renamed(record.extra, changed)
            source = batch.source
            source.host = changed.get(source.host, source.host)
            source.worker = changed.get(source.worker, source.worker)
            source.app_name = changed.get(source.app_name, source.app_name)
            batch.threads[:] = [changed.get(thread, thread) for thread in batch.threads]
        for record in rare:
            record.nested = self._tree(record.nested, changed)
            _replace_raised(record.exception, changed)

    def _words_in(self, whole: bytes) -> list[str]:
        """Which literals the texts hold."""
        skeleton = whole.translate(_FOLD, _DROPPED)
        found = [(text, literal) for text, literal, bones in self._literals if bones in skeleton]
        if not found:
            return []
        lowered = whole.lower()
        return [text for text, literal in found if literal in lowered]

    def _changed(self, texts: list[str], words: list[str], encoded: bool) -> dict[str, str]:
        """What the masked form of each text is that has one."""
        suspects = [text for text in texts if "@" in text]
        if encoded:
            suspects += [text for text in texts if "%40" in text]
        if words:
            lowered = [text.lower() for text in texts]
            for word in words:
                suspects += [text for text, low in zip(texts, lowered, strict=True) if word in low]
        changed = {}
        for text in suspects:
            masked = self._masked.get(text)
            if masked is None:
                masked = mask_pairs(mask_urls(text), self._keys)
                if len(text) <= _TEXT_CHARS:
                    if len(self._masked) >= _TEXTS_KEPT:
                        self._masked.clear()
                    self._masked[text] = masked
            if masked != text:
                changed[text] = masked
        return changed

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
