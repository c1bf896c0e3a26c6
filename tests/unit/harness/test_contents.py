"""What is in a namespace is told with what keeps it, and with what it says."""

from tests.harness.contents import describe


def test_a_pod_that_does_not_leave_is_told_with_its_node_and_its_containers() -> None:
    pod = {
        "kind": "Pod",
        "metadata": {
            "name": "desk-1",
            "deletionTimestamp": "2026-01-01T10:02:30Z",
            "deletionGracePeriodSeconds": 150,
        },
        "spec": {"nodeName": "node-2"},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "agent", "restartCount": 1, "state": {"running": {}}}],
            "conditions": [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}],
        },
    }
    first, container, condition = describe(pod)
    assert first == "Pod desk-1: leaving since 2026-01-01T10:02:30Z, grace 150, node node-2, phase Running"
    assert container == "  container agent, 1 restarts: {'running': {}}"
    assert condition == "  Ready False NodeNotReady"


def test_a_resource_is_told_with_its_finalizers_its_status_and_why_it_waits() -> None:
    message = "Waiting until the rooms are empty: voice-0."
    server = {
        "apiVersion": "livekit-operator.dev/v1alpha1",
        "kind": "LiveKitServer",
        "metadata": {"name": "voice", "finalizers": ["livekit-operator.dev/server"]},
        "status": {
            "rooms": 1,
            "conditions": [{"type": "Ready", "status": "False", "reason": "Deleting", "message": message}],
        },
    }
    assert list(describe(server)) == [
        "LiveKitServer voice: finalizers ['livekit-operator.dev/server']",
        f"  Ready False Deleting: {message}",
        '  {"rooms": 1}',
    ]


def test_a_namespace_is_told_with_what_kubernetes_still_finds_in_it() -> None:
    condition = {"type": "NamespaceContentRemaining", "status": "True", "reason": "SomeResourcesRemain"}
    namespace = {
        "kind": "Namespace",
        "metadata": {"name": "story-1"},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Terminating", "conditions": [condition]},
    }
    assert list(describe(namespace)) == [
        "Namespace story-1: finalizers ['kubernetes'], phase Terminating",
        "  NamespaceContentRemaining True SomeResourcesRemain",
    ]
