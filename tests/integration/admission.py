"""Admission policies of one namespace at a real API server."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.integration.api import Api, Manifest

POLICIES = "/apis/admissionregistration.k8s.io/v1"
_NEW_PODS = ({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]},)


@asynccontextmanager
async def policy(
    api: Api, namespace: str, kind: str, spec: Manifest, rules: Sequence[Manifest] = _NEW_PODS
) -> AsyncIterator[None]:
    """Have an admission policy for what is written in a namespace, pods that are made if nothing else is said."""
    name = f"{namespace}-{kind.lower()}"
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    constraints = {"resourceRules": list(rules), "namespaceSelector": selector}
    policies, bindings = f"{POLICIES}/{kind.lower()[:-1]}ies", f"{POLICIES}/{kind.lower()}bindings"
    made = {"metadata": {"name": name}, "spec": {"matchConstraints": constraints, "failurePolicy": "Fail", **spec}}
    (await api.request("POST", policies, made)).accepted()
    actions = {"validationActions": ["Deny"]} if kind.startswith("Validating") else {}
    bound = {"metadata": {"name": name}, "spec": {"policyName": name, **actions}}
    (await api.request("POST", bindings, bound)).accepted()
    try:
        yield
    finally:
        for path in (bindings, policies):
            await api.request("DELETE", f"{path}/{name}")
