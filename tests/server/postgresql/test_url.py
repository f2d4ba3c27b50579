# SPDX-License-Identifier: Apache-2.0
"""No password of a database comes out again, wherever it stood in the URL."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfob.errors import ConfigError, KeyfobError, UpstreamError
from keyfob.server.register import Register
from keyfob.server.stores.place import PostgresqlUrl, place_of
from keyfob.server.stores.store import open_store
from tests.free_ports import free_port
from tests.postgresql import PASSWORD, Cluster

SECRETS = st.text(min_size=4, max_size=30).filter(lambda text: len(text.encode("utf-8", "ignore")))


@given(st.text(st.characters(min_codepoint=33, exclude_categories=["Cs"]), min_size=5, max_size=30))
def test_a_password_is_shown_nowhere(password: str) -> None:
    secret = "pw-" + password
    written = quote(secret, safe="")
    for text in (
        f"postgresql://keyfob:{written}@db.example:5432/keyfob?sslmode=disable",
        f"postgres://keyfob@db.example/keyfob?password={written}",
        f"postgresql://db.example/keyfob?sslmode=require&sslpassword={written}&user=x",
    ):
        url = PostgresqlUrl.parse(text)
        for shown in (repr(url), str(url), url.name, url.masked(f"it said {secret} and {written}")):
            assert secret not in shown
            assert written not in shown
        assert "db.example" in str(url)


@given(st.text(max_size=200))
def test_what_is_no_url_is_an_error_that_does_not_repeat_it(text: str) -> None:
    message = ""
    try:
        PostgresqlUrl.parse("postgresql://" + text)
    except ConfigError as error:
        message = error.message
    assert len(text) < 8 or text not in message


@pytest.mark.parametrize("text", ["mysql://x", "", "postgresql:/x", "postgresql://a b", "x" * 5000])
def test_another_scheme_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        PostgresqlUrl.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://keyfob:%zz-pass@localhost/keyfob",
        "postgresql://keyfob:x-pass@localhost/keyfob?nonsense=x-pass",
        "postgresql://keyfob:x-pass@localhost:port/keyfob",
    ],
)
def test_a_url_that_the_driver_refuses_is_an_error_without_it(text: str) -> None:
    with pytest.raises(KeyfobError) as caught:
        open_store(place_of(text))
    assert "pass" not in caught.value.message
    assert caught.value.__cause__ is None or "pass" not in str(caught.value.__cause__)


@pytest.mark.parametrize("host", ["db.example", "192.0.2.1", "localhost,db.example"])
def test_the_way_to_another_machine_has_to_be_chosen(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGSSLMODE", raising=False)
    with pytest.raises(ConfigError, match="sslmode=verify-full"):
        open_store(place_of(f"postgresql://keyfob:x@{host}/keyfob"))


def test_a_server_that_is_not_there_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyfob.server.stores.postgresql.outage.PATIENCE", 0.0)
    url = place_of(f"postgresql://keyfob:{PASSWORD}@127.0.0.1:{free_port()}/keyfob")
    for _ in range(2):
        with pytest.raises(UpstreamError, match=r"keyfob@127.0.0.1.*refused") as caught:
            Register.open(url)
        assert PASSWORD not in str(caught.value)


def test_a_wrong_password_is_told_and_not_shown(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfob.server.stores.postgresql.outage.PATIENCE", 0.0)
    cluster.execute(f"CREATE ROLE strict LOGIN PASSWORD '{PASSWORD}'")
    try:
        right = f"postgresql://strict:{PASSWORD}@127.0.0.1:{cluster.port}/postgres"
        wrong = right.replace(PASSWORD, "wrong-" + PASSWORD)
        with pytest.raises(UpstreamError, match="password authentication failed") as caught:
            open_store(place_of(wrong))
        assert PASSWORD not in str(caught.value)
        with pytest.raises(KeyfobError, match="permission denied"):  # it may not make a table
            open_store(place_of(right))
    finally:
        cluster.execute("DROP ROLE strict")
