from __future__ import annotations

import pytest

from logbus.collectors.redaction.secret_keys import DEFAULT_FIELDS, SecretKeys, Verdict, fold
from logbus.errors import ConfigurationError

KEYS = SecretKeys(DEFAULT_FIELDS)


@pytest.mark.parametrize(
    "key",
    "password PassWord user_password userPassword X-Api-Key apiKey APIKey apikey api.key sessionId oauth2_token token2 "
    "PGPASSWORD dbpassword client_secret Proxy-Authorization set_cookie proxy_pass author_token passwordHash "
    "JSESSIONID PHPSESSID passcode jwt creds "
    "csrfToken signature sig subscription-key x_api_key client_secret AccountKey otp bearer".split(),
)
def test_secret_keys(key: str) -> None:
    """A field is found as whole words in any case and spelling."""
    assert KEYS.verdict(key) is Verdict.SECRET


@pytest.mark.parametrize(
    "key",
    "author monkey compass bypass secretary keyapi tokens_used token_count cookie_name auth_method _ é "
    "pin passed bypass pass_rate design signal auth_status token_url signature_version auth_failures".split(),
)
def test_plain_keys(key: str) -> None:
    """Parts of words, and keys about a secret, are no secrets."""
    assert KEYS.verdict(key) is Verdict.PLAIN


@pytest.mark.parametrize("key", ["max_tokens", "tokens", "apiKeys", "api_keys", "cookies", "pass", "SMTP_PASS"])
def test_plurals_are_secret_unless_numbers(key: str) -> None:
    """A plural may be a quantity, and "pass" the opposite of "fail": the value tells."""
    assert KEYS.verdict(key) is Verdict.UNLESS_NUMBER


def test_fields_of_ones_own() -> None:
    """Given fields replace the default ones, in any spelling, and beat what their last word would say."""
    keys = SecretKeys(["accountNumber", "token_limit", "contraseña"])
    for key in ("account_number", "Account-Number", "accountnumber", "token_limit", "contraseña"):
        assert keys.verdict(key) is Verdict.SECRET
    for key in ("password", "account", "number", "token"):
        assert keys.verdict(key) is Verdict.PLAIN


def test_literals_are_few() -> None:
    """What a key must hold to be secret is one word of each field, and none that another makes needless."""
    assert SecretKeys(["auth", "authorization", "api_key", "private_key", "session_id"]).literals == (
        "auth",
        "key",
        "session",
    )


def test_runs_say_what_a_secret_key_consists_of() -> None:
    """A field is left out only where another one is in its last word: beside it a key may go on in the next word."""
    keys = SecretKeys(["pass", "password", "db_pass", "session_id", "sess", "api_key"])
    assert keys.runs == (("api", "key"), ("pass",), ("sess",), ("session", "id"))


def test_a_field_without_a_word_is_refused() -> None:
    """A field with neither letter nor digit can't match and is a configuration error."""
    with pytest.raises(ConfigurationError, match=r"redaction\.fields: '--'"):
        SecretKeys(["password", "--"])


def test_verdicts_stay_right_when_more_keys_come_than_are_remembered() -> None:
    """Thousands of keys, and keys of any length, are judged alike before and after the memory is emptied."""
    keys = SecretKeys(["token"])
    for index in range(5000):
        assert keys.verdict(f"token_{index}") is Verdict.SECRET
        assert keys.verdict(f"plain_{index}") is Verdict.PLAIN
    assert keys.verdict("x_" * 10_000 + "token") is Verdict.SECRET


def test_case_is_folded_for_ascii_letters_only() -> None:
    """Other letters stay as they are, so that a folded text has the places of the text itself."""
    assert fold("TOKEN É \u212a \u0130 \ud800") == "token É \u212a \u0130 \ud800"
