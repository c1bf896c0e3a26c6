"""What refuses or changes what is written in one namespace of a real API server: a policy, or a webhook of the test."""

import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import IPv4Address
from pathlib import Path

from aiohttp import web

from tests.cluster.certificates import Pair, make_authority, make_certificate
from tests.harness.api import Api, Manifest

POLICIES = "/apis/admissionregistration.k8s.io/v1"
_REVIEW = "admission.k8s.io/v1"
_ADDRESS = IPv4Address("127.0.0.1")
_MOST_BYTES = 16 * 2**20
# An object that is written -> the JSON patch to change it by.
Change = Callable[[Manifest], "list[Manifest]"]
_NEW_PODS = ({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]},)


@asynccontextmanager
async def validating_policy(api: Api, namespace: str, spec: Manifest) -> AsyncIterator[None]:
    """Have a ValidatingAdmissionPolicy for pods that are made in a namespace."""
    name = f"{namespace}-validating"
    constraints = {"resourceRules": list(_NEW_PODS), "namespaceSelector": _only(namespace)}
    policies, bindings = f"{POLICIES}/validatingadmissionpolicies", f"{POLICIES}/validatingadmissionpolicybindings"
    made = {"metadata": {"name": name}, "spec": {"matchConstraints": constraints, "failurePolicy": "Fail", **spec}}
    (await api.request("POST", policies, made)).accepted()
    bound = {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}}
    (await api.request("POST", bindings, bound)).accepted()
    try:
        yield
    finally:
        for path in (bindings, policies):
            await api.request("DELETE", f"{path}/{name}")


@asynccontextmanager
async def mutating_webhook(
    api: Api, namespace: str, change: Change, rules: Sequence[Manifest] = _NEW_PODS
) -> AsyncIterator[None]:
    """Have a webhook change what is written in a namespace, pods that are made if nothing else is said.

    Not a MutatingAdmissionPolicy, which Kubernetes has from 1.36 on.
    """
    authority = make_authority("webhook")

    async def answer(request: web.Request) -> web.Response:
        asked = (await request.json())["request"]
        patch = base64.b64encode(json.dumps(change(asked["object"])).encode()).decode()
        response = {"uid": asked["uid"], "allowed": True, "patchType": "JSONPatch", "patch": patch}
        return web.json_response({"apiVersion": _REVIEW, "kind": "AdmissionReview", "response": response})

    application = web.Application(client_max_size=_MOST_BYTES)
    application.add_routes([web.post("/", answer)])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    path, name = f"{POLICIES}/mutatingwebhookconfigurations", f"{namespace}-mutating"
    try:
        await web.TCPSite(runner, str(_ADDRESS), 0, ssl_context=_server_context(authority)).start()
        client = {
            "url": f"https://{_ADDRESS}:{runner.addresses[0][1]}/",
            "caBundle": base64.b64encode(authority.certificate_pem).decode(),
        }
        webhook = {
            "name": "changes.example.com",
            "clientConfig": client,
            "rules": list(rules),
            "namespaceSelector": _only(namespace),
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
        }
        (await api.request("POST", path, {"metadata": {"name": name}, "webhooks": [webhook]})).accepted()
        yield
    finally:
        await api.request("DELETE", f"{path}/{name}")
        await runner.cleanup()


def _only(namespace: str) -> Manifest:
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}


def _server_context(authority: Pair) -> ssl.SSLContext:
    made = make_certificate(authority, "webhook", addresses=[_ADDRESS])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as folder:  # Python reads a key from a file only
        certificate, key = Path(folder) / "tls.crt", Path(folder) / "tls.key"
        certificate.write_bytes(made.certificate_pem)
        key.write_bytes(made.key_pem)
        context.load_cert_chain(certificate, key)
    return context
