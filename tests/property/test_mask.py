from __future__ import annotations

from hypothesis import given, strategies as st

from logbus.collectors.redaction.mask import DEFAULT_FIELDS, SecretKeys, Signs, Work, mask_lone_urls, mask_text
from logbus.collectors.redaction.pairs import mask_pairs
from logbus.collectors.redaction.tokens import mask_schemes, mask_tokens
from logbus.collectors.redaction.userinfo import mask_lone, mask_urls
from tests.property.plain_redaction import PlainKeys, PlainRedactor
from tests.property.suspicious import PIECES, SUSPICIOUS, URL_MESSAGES, URLS

KEYS = SecretKeys(DEFAULT_FIELDS)
SIGNS = Signs(KEYS)
PLAIN = PlainRedactor()

#: Fields of a user's own whose words lie within one another, and the keys that are made of the same.
_WORDS = ("api", "Key", "key", "keys", "sess", "session", "id", "ids", "Id", "pass", "x1", "7", "secretkey", "é", "in")
FIELDS = st.lists(
    st.lists(st.sampled_from(_WORDS), min_size=1, max_size=3).map("_".join) | st.sampled_from(("apiKey", "sessId")),
    max_size=3,
)
_NAMES = st.lists(st.sampled_from((*_WORDS, "_", "-", ".", "", "s", "2", "A", "count", " ")), max_size=6).map("".join)
PAIRS = st.builds("{}{}{}{}".format, _NAMES, _NAMES, st.sampled_from(("=", ": ", "='", " '", " ", '", "', ":")), _NAMES)


@given(SUSPICIOUS | URLS | URL_MESSAGES)
def test_asking_which_passes_a_text_needs_changes_no_result(text: str) -> None:
    """A text becomes what all the rules make of it, whichever passes are left out."""
    assert mask_text(text, KEYS, signs=SIGNS) == PLAIN.text(text)


@given(SUSPICIOUS | URLS | URL_MESSAGES)
def test_each_pass_that_changes_a_text_has_its_sign_in_it(text: str) -> None:
    """No pass is left out that would find something."""
    passes = SIGNS.passes(text)
    assert Signs.TOKENS in passes or mask_tokens(text) == text
    assert Signs.SCHEMES in passes or mask_schemes(text) == text
    assert Signs.PAIRS in passes or mask_pairs(text, KEYS) == text


@given(FIELDS, PAIRS, st.sampled_from(PIECES))
def test_fields_of_a_users_own_have_their_signs(fields: list[str], text: str, piece: str) -> None:
    """Whatever the fields are, the key of each value that is masked is found, in prose and glued to an escape too."""
    keys = SecretKeys(fields)
    signs, plain = Signs(keys), PlainRedactor(tuple(fields))
    for one in (text, f"{piece}{text}", f"{text}{piece}", rf"\n{text}"):
        assert mask_text(one, keys, signs=signs) == plain.text(one)


@given(FIELDS, _NAMES)
def test_a_key_without_the_letters_of_a_field_is_plain(fields: list[str], key: str) -> None:
    """What is looked for before a key is judged is in every key that is secret."""
    assert SecretKeys(fields).verdict(key) is PlainKeys(fields).verdict(key)


@given(st.lists(URLS | URL_MESSAGES | SUSPICIOUS, max_size=8))
def test_urls_that_are_masked_together_become_what_each_would(texts: list[str]) -> None:
    """What the short way takes, beside whatever other texts, it makes what all the rules make of it."""
    found = mask_lone_urls(texts, SIGNS, Work(len(texts)))
    assert found == {text: PLAIN.text(text) for text in found}


@given(URLS | URL_MESSAGES)
def test_a_lone_url_becomes_what_the_pass_for_urls_makes_of_it(text: str) -> None:
    """The one pattern for a plain URL does what the pass does that knows all kinds."""
    masked = mask_lone(text)
    assert masked is None or masked == mask_urls(text)
