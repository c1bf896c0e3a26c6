"""A pool's children that all its versions share: credentials, account, policies."""

from livekit_operator.pools.manifests import children as build
from tests.fakes import models
from tests.fakes.manifests import API_SECRET, decoded


def test_the_credentials_are_a_secret_of_the_pools_own_namespace() -> None:
    secret = build.build_credentials(models.pool("guests"), "APIx", API_SECRET)
    assert (secret["metadata"]["namespace"], secret["metadata"]["name"]) == ("guests", "front-desk-agent")
    assert decoded(secret) == {"apiKey": "APIx", "apiSecret": API_SECRET}


def test_an_agents_name_is_its_namespaces_own() -> None:
    assert build.agent_name(models.pool()) == "front-desk"
    assert build.agent_name(models.pool(agentName="reception")) == "reception"
    guest = models.pool("guests", serverRef={"name": "voice", "namespace": "team"})
    assert build.agent_name(guest) == "guests/front-desk"


def test_the_agents_account_has_no_token() -> None:
    account = build.build_service_account(models.pool())
    assert account["metadata"]["name"] == "front-desk-agent"
    assert account["automountServiceAccountToken"] is False


def test_no_pod_with_calls_is_evicted() -> None:
    budget = build.build_budget(models.pool(), 3)
    assert budget["metadata"]["name"] == "front-desk-busy"
    assert budget["spec"]["minAvailable"] == 3
    labels = budget["spec"]["selector"]["matchLabels"]
    assert labels == {
        "app.kubernetes.io/name": "voice-agent",
        "app.kubernetes.io/instance": "front-desk",
        "app.kubernetes.io/component": "agent",
        "livekit-operator.dev/busy": "true",
    }


def test_only_the_operator_reaches_the_agents() -> None:
    policy = build.build_network_policy(models.pool(), "livekit-system")
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    pods = ",".join(f"{key}={value}" for key, value in sorted(policy["spec"]["podSelector"]["matchLabels"].items()))
    assert pods == build.pod_selector(models.pool())
    assert policy["spec"]["ingress"] == [
        {
            "ports": [{"protocol": "TCP", "port": "worker"}, {"protocol": "TCP", "port": "status"}],
            "from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "livekit-system"}}}],
        }
    ]


def test_metrics_are_for_everybody_where_there_are_any() -> None:
    rules = build.build_network_policy(models.pool(metricsPort=9091), "livekit-system")["spec"]["ingress"]
    assert rules[1:] == [{"ports": [{"protocol": "TCP", "port": "metrics"}]}]
