"""The Secret that is the state of a server's keys, and their digests."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml

from livekit_operator.servers.decisions.key_rotation import ApiKey, KeyState
from livekit_operator.servers.manifests.keys import build_keys_secret, key_digest, keys_digest, read_keys_secret
from tests.fakes import models
from tests.fakes.manifests import decoded, secret

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, NEW = ApiKey("APIold", "o" * 40), ApiKey("APInew", "n" * 40)
STATE = KeyState(OLD, (OLD, NEW), rotation="spring", in_use_since=NOW, users_moved=NOW)


@pytest.mark.parametrize("state", [STATE, KeyState(OLD, (OLD,)), replace(STATE, in_use=NEW, users_moved=None)])
def test_the_state_of_keys_is_read_as_it_was_written(state: KeyState) -> None:
    assert read_keys_secret(build_keys_secret(models.server(), state)) == state


def test_the_secret_tells_the_key_in_use_and_the_file_all() -> None:
    values = decoded(build_keys_secret(models.server(), STATE))
    assert (values["apiKey"], values["apiSecret"]) == (OLD.id, OLD.secret)
    assert yaml.safe_load(values["keys.yaml"]) == {OLD.id: OLD.secret, NEW.id: NEW.secret}


def test_a_key_edited_by_hand_is_accepted_too() -> None:
    edited = secret("s", apiKey=NEW.id, apiSecret=NEW.secret, **{"keys.yaml": f"{OLD.id}: {OLD.secret}\n"})
    assert read_keys_secret(edited) == KeyState(NEW, (OLD, NEW))


@pytest.mark.parametrize(
    "values",
    [{"apiKey": "a"}, {"apiSecret": "b"}, {"apiKey": "a", "apiSecret": "b", "keys.yaml": "- 1"},
     {"apiKey": "a", "apiSecret": "b", "keys.yaml": "{"}],
)  # fmt: skip
def test_what_is_no_state_of_keys_is_an_error(values: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="not a"):
        read_keys_secret(secret("s", **values))


DOUBLING = ["a0: &a0 {x: 1}", *(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 200))]


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "text",
    ["\n".join(DOUBLING), "a: &a b\nc: *a\n", "a: {b: c}\n", "a: b\n---\nc: d\n", "[" * 60_000, "{" * 60_000,
     "? " * 30_000, "a: b\n" * 60_000, "text", "'a"],
    ids=["merges", "alias", "depth", "two", "lists", "tables", "keys", "long", "text", "open"],
)  # fmt: skip
def test_a_file_of_keys_that_a_tenant_wrote_makes_no_more_than_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="a file of keys"):
        read_keys_secret(secret("s", apiKey="a", apiSecret="b", **{"keys.yaml": text}))


def test_keys_are_texts_whatever_yaml_makes_of_them() -> None:
    state = KeyState(ApiKey("1e3", "~" * 40), (ApiKey("0x1F", "2026-01-01" * 4), ApiKey("1e3", "~" * 40)))
    assert read_keys_secret(build_keys_secret(models.server(), state)) == state


def test_digests_tell_keys_apart() -> None:
    assert keys_digest(STATE) != keys_digest(replace(STATE, accepted=(OLD,)))
    assert key_digest(OLD.id, OLD.secret) != key_digest(NEW.id, NEW.secret)


def test_digests_that_others_may_read_are_made_with_a_salt() -> None:
    salted = replace(STATE, salt="salt")
    assert keys_digest(salted) != keys_digest(STATE)
    assert keys_digest(salted) != keys_digest(replace(STATE, salt="other"))
    assert key_digest(OLD.id, OLD.secret, "salt") != key_digest(OLD.id, OLD.secret)
    assert read_keys_secret(build_keys_secret(models.server(), salted)) == salted
    assert "salt" not in repr(salted).replace("salt=", "")
