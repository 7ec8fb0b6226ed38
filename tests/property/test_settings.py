"""Any environment and any arguments give settings or a list of problems, and the stronger source always wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, strategies as st

from logbus.errors import ConfigurationError
from logbus.producers.settings import ProducerSettings, resolve

KEYS = list(ProducerSettings._fields)
VARIABLES = {key: f"LOGBUS_{key.upper()}" for key in KEYS}
TEXTS = st.text(st.characters(exclude_characters="\0"), max_size=20) | st.sampled_from(
    ["1", "0", "-1", "1e3", "INFO", "shed_lowest", "ipc:///a/b", "tcp://127.0.0.1:5", "nan", "inf", "\uff11", "1_0"]
)
VALUES = TEXTS | st.none() | st.booleans() | st.integers() | st.floats() | st.lists(st.integers(), max_size=1)
NOWHERE = Path("/nowhere")


@given(
    given=st.dictionaries(st.sampled_from([*KEYS, "other"]), VALUES),
    env=st.dictionaries(st.sampled_from(KEYS), TEXTS),
)
def test_anything_is_settings_or_named_problems(given: dict[str, Any], env: dict[str, str]) -> None:
    """Nothing but a ConfigurationError is raised, each problem starts with its source, and settings are in range."""
    environ = {VARIABLES[key]: text for key, text in env.items()}
    try:
        found = resolve(given, environ=environ, directory=NOWHERE)
    except ConfigurationError as error:
        problems = error.problems
    else:
        check(found)
        return
    assert problems
    # Records on tcp with no word of where commands go: two settings together are wrong.
    sources = (*(f"{key}=" for key in given), *environ, "endpoint 'tcp://")
    assert all(problem.startswith(sources) for problem in problems)


def check(found: ProducerSettings) -> None:
    """Holds settings against what a producer relies on."""
    assert found.capacity >= 1
    assert found.capacity_bytes >= 1
    assert 0 <= found.shutdown_timeout <= 3600
    assert found.level is None or 0 <= found.level <= 100
    assert found.on_full in ("shed_lowest", "drop_newest", "drop_oldest")
    for text in (found.component, found.worker_name(1), found.endpoint.url, found.control.url):
        text.encode()


@given(
    st.dictionaries(st.sampled_from(["component", "worker", "app_name"]), st.tuples(*[st.text("ab", max_size=3)] * 2))
)
def test_code_wins_over_the_environment(values: dict[str, tuple[str, str]]) -> None:
    """A value in code is the one that counts, an empty one too; without it the variable's does."""
    environ = {VARIABLES[key]: env for key, (_, env) in values.items()}
    by_both = resolve({key: code for key, (code, _) in values.items()}, environ=environ, directory=NOWHERE)
    by_env = resolve({}, environ=environ, directory=NOWHERE)
    for key, (code, env) in values.items():
        assert getattr(by_both, key) == code
        assert getattr(by_env, key) == env
