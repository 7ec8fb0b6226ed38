from __future__ import annotations

import pytest

from logbus.collectors.redaction.userinfo import mask_urls
from logbus.collectors.redaction.work import Work


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user:pw@host", "http://user:***@host"),
        ("http://token@host/x", "http://***@host/x"),
        ("redis://:pw@host", "redis://:***@host"),
        ("failed via http://u:p@h:80, then socks5://v:q@i", "failed via http://u:***@h:80, then socks5://v:***@i"),
        ("http://u:p@[2001:db8::1]:8080/x", "http://u:***@[2001:db8::1]:8080/x"),
        ("http://u:p%40ss%3A@h", "http://u:***@h"),
        ("http://u:p@ss@h", "http://u:***@h"),
        ("http://u:p@h:99999", "http://u:***@h:99999"),
        ("http://u:pa/s?s#@h:80", "http://u:***@h:80"),
        ("http://u:pa/s@s@h:80", "http://u:***@h:80"),
        ("{'http': 'http://u:p@h', 'n': 1}", "{'http': 'http://u:***@h', 'n': 1}"),
        (r'{"u":"http:\/\/u:p@h\/x"}', r'{"u":"http:\/\/u:***@h\/x"}'),
        ("GET /?url=http%3A%2F%2Fu%3Ap%40h&x=1", "GET /?url=http%3A%2F%2Fu%3A***%40h&x=1"),
        ("GET /?url=http%3a%2f%2ftok%40h", "GET /?url=http%3a%2f%2f***%40h"),
        ("bad proxy u:p@proxy.example.com:8080 skipped", "bad proxy u:***@proxy.example.com:8080 skipped"),
        ("HTTP://U:P@H", "HTTP://U:***@H"),
        ("http://ü:ß@h", "http://ü:***@h"),
        ("//u:p@h/x and http:/v:q@h/x", "//u:***@h/x and http:/v:***@h/x"),
        ("SplitResult(netloc='u:p@h', path='')", "SplitResult(netloc='u:***@h', path='')"),
        ("SplitResultBytes(netloc=b'u:p@h')", "SplitResultBytes(netloc=b'u:***@h')"),
        ("user:p@host and user:p=w:x@host", "user:***@host and user:***@host"),
        ("to u:p@[::1] at once", "to u:***@[::1] at once"),
        ("?u=http%253A%252F%252Fu%253Ap%2540h", "?u=http%253A%252F%252Fu%253A***%2540h"),
        ("input_value='http://user:hunter2hunt...ost.com:99999'", "input_value='http://user:***'"),
        ("http://user:hunt", "http://user:***"),
        ("10.0.0.1:8080:user:pw", "10.0.0.1:8080:user:***"),
        (
            "a 10.0.0.1:8080:user:p:w, [::1]:80:u:p; localhost:1:u:p",
            "a 10.0.0.1:8080:user:*** [::1]:80:u:*** localhost:1:u:***",
        ),
        ("http://proxy.example.com:8080:user:pw", "http://proxy.example.com:8080:user:***"),
        ("user:pw:10.0.0.1:8080", "user:***:10.0.0.1:8080"),
        ("http://a:b@c/?next=http://d:e@f", "http://a:***@c/?next=http://d:***@f"),
        ("http://u:p@ss/x@10.0.0.1:99999", "http://u:***@10.0.0.1:99999"),
        ("http://u:p@s.s/x@h.example.com/a", "http://u:***@h.example.com/a"),
        ("http://u:p@h:1,http://v:q@i:2", "http://u:***@h:1,http://v:***@i:2"),
        ("https://u:p@registry.example.com/@scope/pkg@1.2.3", "https://u:***@registry.example.com/@scope/pkg@1.2.3"),
        ("curl -u bob:pw http://h", "curl -u bob:*** http://h"),
        ("curl --user 'bob:p:w' x --proxy-user=bob:pw", "curl --user 'bob:***' x --proxy-user=bob:***"),
        ("['curl', '-u', 'bob:pw']", "['curl', '-u', 'bob:***']"),
        ("http://a:b,http://c:d@e", "http://a:***@e"),
        ("1.2.3.4:80@bob:pw", "1.2.3.4:***@bob:***"),
        ("http://p.example.com:80@bob:pw n", "http://p.example.com:***@bob:*** n"),
        ("http://proxy:8080:bob:pw", "http://proxy:8080:bob:***"),
        (f"{'u' * 100}:pw@h.example.com:80", f"{'u' * 100}:***@h.example.com:80"),
        (f"//{'u' * 100}:pw@h", f"//{'u' * 100}:***@h"),
        (f"1.2.3.4:80:{'u' * 200}:pw", f"1.2.3.4:80:{'u' * 200}:***"),
    ],
)
def test_credentials_of_urls_are_masked(text: str, expected: str) -> None:
    """The password of a URL is masked and its user kept, wherever and however the URL stands in a text."""
    assert mask_urls(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "pip install git+ssh://git@github.com/org/repo.git",
        "mail bob@example.com at http://example.com/",
        "https://example.com/@user/post",
        "https://example.com:8080/@user?to=a@b.c",
        "http://[::1]:80/a@b",
        "http://@host/",
        '{"url":"http://h","mail":"a@b.c"}',
        "12:30 a@b",
        "x // why: bob@h",
        "a//b:c@d",
        "copy host:/srv/bob@h",
        "write to mailto:bob@example.com, from:ann@example.com",
        "docker run -u 1000:1000 x, git log --user http://h/, a multi-user x:y",
        "image nginx:1.25@sha256:0123abcd",
        "at 12:30:45:123 and 2026-11-22T10:20:30.123456+00:00",
        "http://{host}:{port}/ http://%s:%s/ http://$HOST:$PORT http://h:80, http://h:80) http://[::1]:80",
        "aa:bb:cc:dd:ee:ff 00:11:22:33:44:55 2001:db8::1:80:a:b",
    ],
)
def test_other_texts_with_an_at_sign_stay(text: str) -> None:
    """An @ that ends no userinfo changes nothing."""
    assert mask_urls(text) == text


def test_a_word_longer_than_any_url_is_masked_whole() -> None:
    """Where a word that may hold credentials is longer than can be looked through, nothing of it is passed on."""
    text = f"see http://u:p@h/{'x' * 5000} and the rest"
    assert mask_urls(text) == "see *** and the rest"
    assert mask_urls("x" * 5000) == "x" * 5000


def test_where_the_steps_end_the_rest_is_masked() -> None:
    """More URLs than there are steps for: those behind the last step go with all that stands between them."""
    work = Work()
    masked = mask_urls("http://u:secret@h and so on " * 2000, work)
    assert work.overrun
    assert masked.endswith("and so on ***")
    assert masked.count("http://u:***@h") > 200
    assert "secret" not in masked
