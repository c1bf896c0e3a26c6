"""What the operator does not make for whoever may write its resources."""

from typing import Any

import pytest

from livekit_operator.manifests.permits import metadata_refusal, pod_refusal, secret_name_refusal, server_refusals
from livekit_operator.servers.manifests.signalling import signal_service_type
from livekit_operator.settings import Allowed
from tests.fakes import models

HOST = "voice.example.com"
INGRESS: dict[str, Any] = {"signal": {"ingress": {"host": HOST}}}
ISSUER = {"issuerRef": {"name": "letsencrypt", "kind": "ClusterIssuer"}}
ROUTE: dict[str, Any] = {"signal": {"gateway": {"host": HOST, "parentRefs": [{"name": "public", "namespace": "gw"}]}}}
TURN: dict[str, Any] = {"turn": {"domain": HOST, "udp": False, "tls": {"certificate": ISSUER, "service": {}}}}
BALANCED: dict[str, Any] = {"media": {"exposure": "LoadBalancer"}}


def ingress(**spec: Any) -> dict[str, Any]:
    return {"signal": {"ingress": {"host": HOST, **spec}}}


def refused(spec: dict[str, Any], **allowed: Any) -> list[tuple[str, str, str]]:
    """Return part, field and the chart's value of each refusal."""
    server = models.server(**spec)
    found = server_refusals(server, signal_service_type(server), Allowed(**allowed))
    told: list[tuple[str, str, str]] = []
    for refusal in found:
        field, _, rest = refusal.message.partition(": ")
        assert " is not allowed; the chart's value allowed." in rest
        told.append((refusal.part, field, rest.partition("allowed.")[2].partition(" ")[0]))
    return told


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"media": {"exposure": "NodePort"}},
        {**BALANCED, "media": {"exposure": "LoadBalancer", "loadBalancer": {"annotations": {"a.aws/b": "c"}}}},
        ingress(className="nginx", annotations={"nginx.ingress.kubernetes.io/proxy-read-timeout": "3600"}, tls=ISSUER),
        ingress(annotations={"cert-manager.io/cluster-issuer": "letsencrypt"}),
        ROUTE,
        TURN,
        {"podTemplate": {"priorityClassName": "calls"}},
    ],
)
def test_what_people_have_today_is_allowed(spec: dict[str, Any]) -> None:
    assert refused(spec) == []


@pytest.mark.parametrize(
    "name",
    [
        "nginx.ingress.kubernetes.io/configuration-snippet",
        "nginx.ingress.kubernetes.io/server-snippet",
        "nginx.org/location-snippets",
        "haproxy.org/backend-config-snippet",
        "haproxy-ingress.github.io/config-backend",
        "nginx.ingress.kubernetes.io/auth-tls-secret",
        "argocd.argoproj.io/tracking-id",
        "meta.helm.sh/release-name",
        "kustomize.toolkit.fluxcd.io/name",
    ],
)
def test_what_gives_power_over_others_is_refused_from_the_start(name: str) -> None:
    assert refused(ingress(annotations={name: "x"})) == [
        ("Ingress", "spec.signal.ingress.annotations", "deniedAnnotations")
    ]
    assert refused(ingress(annotations={name: "x"}), denied_annotations=()) == []
    services = {"signal": {"service": {"type": "LoadBalancer", "annotations": {name: "x"}}}}
    assert refused(services) == [("SignalService", "spec.signal.service.annotations", "deniedAnnotations")]


@pytest.mark.parametrize(
    ("spec", "allowed", "told"),
    [
        (
            {"media": {"exposure": "HostNetwork"}},
            {"host_network": False},
            ("Pod", "spec.media.exposure", "hostNetwork"),
        ),
        (
            {"podTemplate": {"priorityClassName": "system-node-critical"}},
            {},
            ("Pod", "spec.podTemplate.priorityClassName", "priorityClasses"),
        ),
        (INGRESS, {"ingress_classes": ["nginx"]}, ("Ingress", "spec.signal.ingress.className", "ingressClasses")),
        (
            ingress(annotations={"kubernetes.io/ingress.class": "other"}),
            {"ingress_classes": ["nginx"]},
            ("Ingress", "spec.signal.ingress.className", "ingressClasses"),
        ),
        (INGRESS, {"hosts": {"media": ["*"]}}, ("Ingress", "spec.signal.ingress.host", "hosts")),
        (INGRESS, {"hosts": {"*": ["*.example.org"]}}, ("Ingress", "spec.signal.ingress.host", "hosts")),
        (
            ingress(annotations={"nginx.ingress.kubernetes.io/server-alias": f"{HOST},evil.example.org"}),
            {"hosts": {"team": [HOST]}},
            ("Ingress", "spec.signal.ingress.annotations[nginx.ingress.kubernetes.io/server-alias]", "hosts"),
        ),
        (
            ingress(annotations={"cert-manager.io/cluster-issuer": "other"}),
            {"issuers": ["ClusterIssuer/letsencrypt"]},
            ("Ingress", "spec.signal.ingress.annotations[cert-manager.io/cluster-issuer]", "issuers"),
        ),
        (
            ingress(tls=ISSUER),
            {"issuers": ["Issuer/*"]},
            ("SignalCertificate", "spec.signal.ingress.tls.issuerRef", "issuers"),
        ),
        (
            ingress(annotations={"example.com/a": "b"}),
            {"annotations": ["nginx.ingress.kubernetes.io/*"]},
            ("Ingress", "spec.signal.ingress.annotations", "annotations"),
        ),
        (ROUTE, {"gateways": ["team/*"]}, ("HTTPRoute", "spec.signal.gateway.parentRefs[0]", "gateways")),
        (ROUTE, {"hosts": {"*": []}}, ("HTTPRoute", "spec.signal.gateway.host", "hosts")),
        (TURN, {"hosts": {"*": ["x"]}}, ("TurnCertificate", "spec.turn.domain", "hosts")),
        (TURN, {"issuers": []}, ("TurnCertificate", "spec.turn.tls.certificate.issuerRef", "issuers")),
        (
            TURN,
            {"load_balancer_classes": []},
            ("TurnService", "spec.turn.tls.service.loadBalancerClass", "loadBalancerClasses"),
        ),
        (
            {**BALANCED, "signal": {"service": {"type": "ClusterIP"}}},
            {"load_balancer_classes": ["internal"]},
            ("MediaService", "spec.media.loadBalancer.loadBalancerClass", "loadBalancerClasses"),
        ),
        (
            {"media": {"exposure": "NodePort"}, "signal": {"externalUrl": "wss://x"}},
            {"node_ports": False},
            ("MediaService", "spec.media.exposure", "nodePorts"),
        ),
        (
            {"media": {"exposure": "HostNetwork"}, "signal": {"service": {"type": "NodePort"}}},
            {"node_ports": False},
            ("SignalService", "spec.signal.service.type", "nodePorts"),
        ),
    ],
)
def test_what_the_values_do_not_allow_is_refused_by_field(
    spec: dict[str, Any], allowed: dict[str, Any], told: tuple[str, str, str]
) -> None:
    assert refused(spec, **allowed) == [told]


def test_hosts_are_a_namespaces_or_everybodys() -> None:
    for hosts in ({"team": ["*.example.com"]}, {"*": [HOST]}, {"other": ["x"], "*": ["*"]}):
        assert refused(INGRESS, hosts=hosts) == []


@pytest.mark.parametrize(
    ("name", "patterns", "taken"),
    [
        (None, (), True),
        ("calls", ("*",), True),
        ("calls", ("web-*",), False),
        ("system-cluster-critical", ("*",), False),
        ("system-cluster-critical", ("system-*",), False),
        ("system-cluster-critical", ("system-cluster-critical",), True),
    ],
)
def test_priority_classes(name: str | None, patterns: tuple[str, ...], taken: bool) -> None:
    assert (pod_refusal(name, Allowed(priority_classes=patterns)) is None) == taken


@pytest.mark.parametrize(
    ("name", "patterns", "taken"),
    [
        ("lobby", (), True),
        ("lobby-alice", (), True),
        ("lobbyist", (), False),
        ("database", (), False),
        ("database", ("team/*",), True),
        ("database", ("other/*",), False),
        ("database", ("*",), True),
        ("sh.helm.release.v1.web.v1", ("*",), False),
        ("bootstrap-token-abcdef", ("*",), False),
    ],
)
def test_names_of_token_secrets(name: str, patterns: tuple[str, ...], taken: bool) -> None:
    message = secret_name_refusal("team", "lobby", name, "spec.tokens[0].secretName", Allowed(secret_names=patterns))
    assert (message is None) == taken
    assert message is None or message.startswith("spec.tokens[0].secretName: ")


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("team", True),
        ("reloader.stakater.com/match", True),
        ("app.kubernetes.io/part-of", True),
        ("argocd.argoproj.io/secret-type", False),
        ("jenkins.io/credentials-type", False),
        ("replicator.v1.mittwald.de/replicate-from", False),
        ("kubernetes.io/service-account.name", False),
        ("grafana_datasource", False),
    ],
)
def test_labels_and_annotations_of_token_secrets(name: str, taken: bool) -> None:
    assert (metadata_refusal([name], "spec.tokens[0].secret", Allowed()) is None) == taken
