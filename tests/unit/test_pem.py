from __future__ import annotations

import pytest

from logbus.collectors.redaction.pem import mask_lines, mask_pem

BEGIN, END = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"key {BEGIN}\nMIIE\nabc=\n{END} n", f"key {BEGIN}***{END} n"),
        (rf"key='{BEGIN}\nMIIE\n{END}\n'", rf"key='{BEGIN}***{END}\n'"),
        (f"{BEGIN}MIIE{END}{BEGIN}MIIF{END}", f"{BEGIN}***{END}{BEGIN}***{END}"),
        (f"{BEGIN}\nMIIE\nabc", f"{BEGIN}***"),
        (f"tail: MIIE\nabc=\n{END} n", f"tail:***{END} n"),
        (f"MIIE{END}x{BEGIN}MIIF", f"***{END}x{BEGIN}***"),
        (f"{BEGIN}MIIE{BEGIN}MIIF{END}", f"{BEGIN}***{END}"),
        ("-----BEGIN PGP PRIVATE KEY BLOCK-----\nxyz", "-----BEGIN PGP PRIVATE KEY BLOCK-----***"),
        (
            "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nMIIE\n---- END SSH2 ENCRYPTED PRIVATE KEY ----",
            "---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----***---- END SSH2 ENCRYPTED PRIVATE KEY ----",
        ),
        ("-----BEGIN CERTIFICATE-----\nMIIE\n", "-----BEGIN CERTIFICATE-----\nMIIE\n"),
        ("-----BEGIN PRIVATE KEY", "-----BEGIN PRIVATE KEY"),
    ],
)
def test_private_keys_are_masked(text: str, expected: str) -> None:
    """What lies between BEGIN and END goes; where the text was cut, to or from its end."""
    assert mask_pem(text) == expected
    assert mask_pem(expected) == expected


@pytest.mark.parametrize(
    ("lines", "masked"),
    [
        (["a", BEGIN, "MIIE", "", "abc=", END, "b"], [2, 3, 4]),
        (["Proc-Type: 4,ENCRYPTED", f"x {BEGIN}", "Proc-Type: 4,ENCRYPTED", "MIIE", "two words", "b"], [2, 3]),
        (["in f", "MIIE", "abc=", f"  {END}", "b"], [1, 2]),
        ([BEGIN, "a b c", END, "x", BEGIN + "MIIE" + END, "y"], [1]),
        (["a", "b"], []),
    ],
)
def test_private_keys_that_lie_in_several_lines_are_masked(lines: list[str], masked: list[int]) -> None:
    """Lines between BEGIN and END are masks, as are those that look like a key before an END or behind a BEGIN."""
    assert mask_lines(lines) == ["***" if at in masked else line for at, line in enumerate(lines)]
