"""What a pool's pods take beside what every pod of the operator's does."""

from typing import Any

import pytest
from pydantic import ValidationError

from livekit_operator.api.agent_pods import AgentPodTemplate
from livekit_operator.api.pods import PodTemplate


def test_servers_have_none_of_it() -> None:
    added = AgentPodTemplate.model_fields.keys() - PodTemplate.model_fields.keys()
    assert added == {
        "service_account_name",
        "automount_service_account_token",
        "init_containers",
        "containers",
        "host_aliases",
        "dns_policy",
        "dns_config",
        "security_context",
    }


def test_nothing_of_it_is_there_unless_it_is_written() -> None:
    """It would be part of every version, and replace every pod."""
    written = AgentPodTemplate().model_dump(by_alias=True, exclude_none=True)
    assert written == PodTemplate().model_dump(by_alias=True, exclude_none=True)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"serviceAccountName": "A_B"}, "serviceAccountName"),
        ({"hostAliases": [{"ip": "crm", "hostnames": ["crm"]}]}, "ip"),
        ({"hostAliases": [{"ip": "10.0.0.1", "hostnames": []}]}, "hostnames"),
        ({"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a b"]}]}, "hostnames"),
        ({"hostAliases": [{"ip": "10.0.0.1", "hostnames": ["a"]}] * 65}, "hostAliases"),
        ({"dnsPolicy": "ClusterFirstWithHostNet"}, "dnsPolicy"),
        ({"dnsConfig": {"nameservers": ["1.1.1.1"] * 4}}, "nameservers"),
        ({"dnsConfig": {"searches": ["a"] * 33}}, "searches"),
        ({"dnsConfig": {"options": [{"name": ""}]}}, "options"),
    ],
)
def test_what_is_wrong_is_named(value: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        AgentPodTemplate.model_validate(value)
