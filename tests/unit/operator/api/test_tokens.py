"""What a user writes of tokens is understood, and what is wrong is not."""

from typing import Any

import pytest
from pydantic import ValidationError

from livekit_operator.api.tokens import GenerateTokens, Token, TokenOptions


def test_the_least_a_user_must_write() -> None:
    token = Token.model_validate({"identity": "alice"})
    assert (token.role, token.ttl_seconds, token.revoke, token.secret_name) == (None, 21600, False, None)
    assert GenerateTokens.model_validate({"count": 2}).identity_prefix == "guest-"


@pytest.mark.parametrize(
    ("model", "written", "field"),
    [
        pytest.param(Token, {}, "identity", id="no identity"),
        pytest.param(Token, {"identity": ""}, "identity", id="empty identity"),
        pytest.param(Token, {"identity": "a\x7f"}, "identity", id="an identity that nobody can type"),
        pytest.param(Token, {"identity": "a", "role": "Boss"}, "role", id="unknown role"),
        pytest.param(Token, {"identity": "a", "ttlSeconds": 0}, "ttlSeconds", id="no life"),
        pytest.param(Token, {"identity": "a", "ttlSeconds": 10**9}, "ttlSeconds", id="a life of years"),
        pytest.param(
            Token,
            {"identity": "a", "grants": {"canPublishSources": ["x"]}},
            "canPublishSources",
            id="an unknown source",
        ),
        pytest.param(
            Token, {"identity": "a", "secret": {"keys": {"token": "a b"}}}, "token", id="a key that none can be"
        ),
        pytest.param(
            Token, {"identity": "a", "secret": {"labels": {"a": "-"}}}, "labels", id="a value that no label has"
        ),
        pytest.param(Token, {"identity": "a", "notBefore": "2026-03-01"}, "notBefore", id="a day is no moment"),
        pytest.param(GenerateTokens, {"count": 501}, "count", id="more guests than the maximum"),
        pytest.param(GenerateTokens, {"count": 1, "identityPrefix": "\t"}, "identityPrefix", id="a control character"),
    ],
)
def test_a_wrong_value_is_named(model: type[TokenOptions], written: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        model.model_validate(written)
