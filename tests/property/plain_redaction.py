"""What redaction means, written down as plainly as can be: the reference to which the quick way must be equal.

It walks a record and puts each text through each rule, one after the other and from left to right. It has no literals
that are looked for first, no probe, no joined texts, no memory, no steps, and no short cut for what is frequent. What
it shares with the quick way is the grammar: which keys are secret, how a URL is written, and where a value ends.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

import re2

from logbus.collectors.decode import Batch, Raised, Site
from logbus.collectors.redaction import pairs, pem, tokens, userinfo
from logbus.collectors.redaction.mask import DEFAULT_FIELDS, MASK, SecretKeys, Verdict


class PlainKeys(SecretKeys):
    """The same keys, each judged in full."""

    def _may_be_secret(self, key: str) -> bool:
        return True


class PlainRedactor:
    """The meaning of redaction with these fields and patterns."""

    def __init__(self, fields: tuple[str, ...] = DEFAULT_FIELDS, patterns: tuple[str, ...] = ()) -> None:
        self.keys = PlainKeys(fields)
        self.patterns = [re2.compile(pattern) for pattern in patterns]

    # ── one text ────────────────────────────────────────────────────────────────────────────────────────────────

    def text(self, text: str) -> str:
        """The text with everything masked that is known for a secret."""
        for pattern in self.patterns:
            text = erased(pattern, text)
        text = without_keys_in_pem(text)
        text = userinfo._LOGIN.sub(rf"\1\2\3{MASK}", text)
        text = "".join(map(credentials_masked, re.split(r'([\s"<>`]+)', text)))
        text = re.sub(r"eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,3}", MASK, text)
        if re.search("(?:AKIA|ASIA)[A-Z0-9]{16}", text):
            text = re.sub("(AKIA|ASIA)[A-Z0-9]{16}", rf"\1{MASK}", text)
            text = "".join(map(aws_secret_masked, re.split("([A-Za-z0-9+/]+(?:==|=)?)", text)))
        for _, pattern in (*tokens._PREFIXED, *tokens._COOKIES):
            text = pattern.sub(rf"\1{MASK}", text)
        for scheme in tokens.SCHEMES:
            text = scheme_masked(scheme, text)
        text = self.pairs_masked(text)
        template, sign, _ = text.partition(" [not formatted with ")
        return template + sign + MASK if sign and MASK in template else text

    def pairs_masked(self, text: str) -> str:
        """Word by word: what follows a word that is a secret key is masked, and the words in it are passed over."""
        at, result = 0, ""
        while word := re.compile(r"[\w.\-]+").search(text, at):
            result += text[at : word.end()]
            at = word.end()
            verdict, end = pairs._verdict(text, word.start(), word.end(), self.keys)
            result += text[at:end]
            at = end
            span = None if verdict is Verdict.PLAIN else pairs._span(text, word.start(), end)
            if span is None:
                continue
            start, end, on = span
            number = verdict is Verdict.UNLESS_NUMBER and re.fullmatch(r"-?\d+(\.\d+)?", text[start:end])
            if end == start or number:
                result += text[at:on]
                at = on
            else:
                result += text[at:start] + MASK
                at = end
        return result + text[at:]

    # ── a record ────────────────────────────────────────────────────────────────────────────────────────────────

    def under(self, key: str, value: Any) -> Any:
        """The value of a key."""
        verdict = self.keys.verdict(key)
        number = value is None or isinstance(value, int | float)
        if verdict is Verdict.SECRET or (verdict is Verdict.UNLESS_NUMBER and not number):
            return MASK
        return self.tree(value)

    def tree(self, value: Any) -> Any:
        """A value at any depth."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self.mapping(value)
        if isinstance(value, list):
            return self.items(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and self.patterns:
            return value if (masked := self.text(str(value))) == str(value) else masked
        return value

    def mapping(self, mapping: dict[str, Any]) -> dict[str, Any]:
        """A mapping: each value under its key, each key as a text, no key lost."""
        result: dict[str, Any] = {}
        for key, value in mapping.items():
            name = self.text(key)
            names = [name, *(f"{name}~{again}" for again in range(2, len(mapping) + 1))]
            free = next(name for name in names if name not in result)
            result[free] = MASK if self.is_named(mapping, key) else self.under(key, value)
        return result

    def is_named(self, mapping: dict[str, Any], key: str) -> bool:
        """Whether the value of this key belongs to a secret key that is a value beside it."""
        keys = {"value": ("name", "key", "header"), "Value": ("Name", "Key")}.get(key, ())
        names = [mapping[name] for name in keys if isinstance(mapping.get(name), str)]
        location = mapping.get("loc")
        if key == "input" and isinstance(location, list):
            names += [name for name in location[-1:] if isinstance(name, str)]
        return any(self.keys.verdict(name) is Verdict.SECRET for name in names)

    def items(self, items: list[Any]) -> list[Any]:
        """A list: a pair of key and value, or items of which one may be the value of the option before it."""
        if len(items) == 2 and isinstance(items[0], str):
            return [self.text(items[0]), self.under(items[0], items[1])]
        result = self.lines(items)
        for at, (option, value) in enumerate(itertools.pairwise(items)):
            if isinstance(option, str) and option.startswith("-") and "=" not in option:
                secret = self.keys.verdict(option) is Verdict.SECRET
                if secret and not (isinstance(value, str) and value.startswith("--")):
                    result[at + 1] = MASK
        return result

    def lines(self, lines: list[Any]) -> list[Any]:
        """Items each by itself, and without the private keys that lie between two of them."""
        inside = pem.mask_lines([line if isinstance(line, str) else "" for line in lines])
        gone = [isinstance(line, str) and piece == MASK for line, piece in zip(lines, inside, strict=True)]
        return [MASK if hidden else self.tree(line) for line, hidden in zip(lines, gone, strict=True)]

    def raised(self, raised: Raised | None) -> Raised | None:
        """An exception with all that hang on it."""
        if raised is None:
            return None
        return Raised(
            self.text(raised.type),
            self.text(raised.message),
            self.lines(raised.traceback),
            self.raised(raised.cause),
            self.raised(raised.context),
            [one for one in map(self.raised, raised.members) if one is not None],
        )

    def site(self, site: Site) -> Site:
        """A call site."""
        names = map(self.text, (site.logger, site.level_name, site.module, site.function, site.component))
        logger, level_name, module, function, component = names
        return Site(logger, site.level_no, level_name, module, function, site.line, component)

    def redact(self, batch: Batch) -> None:
        """Masks a batch in place."""
        batch.threads = [self.text(thread) for thread in batch.threads]
        batch.sites = [self.site(site) for site in batch.sites]
        source = batch.source
        source.host, source.worker, source.app_name = map(self.text, (source.host, source.worker, source.app_name))
        for record in batch.records:
            record.message = self.text(record.message)
            record.extra, record.nested = self.tree(record.extra), self.tree(record.nested)
            record.exception = self.raised(record.exception)


def erased(pattern: Any, text: str) -> str:
    """The text without what a pattern matches, or without what its groups match where it has groups."""
    hidden = [False] * len(text)
    for found in pattern.finditer(text):
        spans = [found.span(group) for group in range(1, pattern.groups + 1)] or [found.span()]
        for start, end in [span for span in spans if 0 <= span[0] < span[1]] or [found.span()]:
            hidden[start:end] = [True] * (end - start)
    runs = itertools.groupby(zip(text, hidden, strict=True), key=lambda pair: pair[1])
    return "".join(MASK if gone else "".join(character for character, _ in run) for gone, run in runs)


def without_keys_in_pem(text: str) -> str:
    """The text without what lies between BEGIN and END, or between one of them and where the text was cut."""
    pieces = re.split(r"(----[ \-](?:BEGIN|END) [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?(?:-----| ----))", text)
    result, inside = "", False
    for at, piece in enumerate(pieces):
        if re.match("----.BEGIN", piece) and at % 2:
            result += "" if inside else piece + MASK
            inside = True
        elif at % 2:
            result += piece
            inside = False
        elif not inside:
            ends = at + 1 < len(pieces) and bool(re.match("----.END", pieces[at + 1]))
            result += body_masked(piece) if ends else piece
    return result


def body_masked(piece: str) -> str:
    """What stands before the END of a key, without the base64 that reaches up to it."""
    while piece and not piece.endswith(MASK) and re.fullmatch(r"[A-Za-z0-9+/=\\ \t\r\n]", piece[-1]):
        piece = piece[:-1]
    return piece if piece.endswith(MASK) else piece + MASK


def credentials_masked(word: str) -> str:
    """A word without the credentials of URLs."""
    if len(word) > 4096 and userinfo._SIGN.search(word):
        return MASK
    if "@" in word:
        word = userinfo._LISTED_AT.sub(rf"\1{MASK}", word)
        if word.count("@") > 1:
            word = userinfo._mask_to_host(word)
        word = userinfo._URL_SLASHED.sub(rf"\1{MASK}@", word)
        word = userinfo._URL.sub(userinfo._mask_userinfo, word)
        word = userinfo._SCHEMELESS.sub(userinfo._mask_schemeless, word)
        word = userinfo._URL_PARTED.sub(rf"\1{MASK}@", word)
    else:
        word = userinfo._LISTED.sub(rf"\1{MASK}", word)
        word = userinfo._LISTED_LAST.sub(rf"\1{MASK}\2", word)
    word = userinfo._URL_CUT.sub(rf"\1{MASK}", word)
    return userinfo._URL_ENCODED.sub(userinfo._mask_encoded, word)


def aws_secret_masked(word: str) -> str:
    """A word, masked if it is as long as a secret access key and no hexadecimal number."""
    body = word.rstrip("=")
    return MASK if re.fullmatch("[A-Za-z0-9+/]{40,}", body) and not re.fullmatch("[0-9a-fA-F]+", word) else word


def scheme_masked(scheme: str, text: str) -> str:
    """The text without what follows the name of an authorization scheme."""
    at, result = 0, ""
    while at < len(text):
        found = tokens._SCHEME.match(text, at) if text[at : at + len(scheme)].lower() == scheme else None
        if found is not None and found[1].lower() == scheme and tokens._is_secret(found):
            result += text[at : found.start(3)] + MASK
            at = found.end()
        else:
            result += text[at]
            at += 1
    return result
