"""A LiveKitServer: keys, children, status, and what happens when somebody interferes."""

from typing import Any

import pytest

from livekit_operator.errors import KubernetesError, ServerRefused, ServerUnreachable
from livekit_operator.settings import Settings
from tests.fakes import manifests
from tests.fakes.manifests import API_KEY, API_SECRET, NAMESPACE, decoded
from tests.fakes.world import World


async def test_children_are_made_once(world: World) -> None:
    world.kubernetes.put(manifests.server())
    await world.reconcile("LiveKitServer", "voice")
    assert world.written() == [
        "apply Secret/voice-keys",
        "apply ConfigMap/voice-livekit",
        "apply Service/voice-livekit",
        "apply Deployment/voice-livekit",
        "merge LiveKitServer/voice/status",
    ]
    keys = decoded(world.get("Secret", "voice-keys"))
    assert keys["apiKey"].startswith("API")
    assert len(keys["apiSecret"]) >= 32
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    assert world.kubernetes.writes == []
    assert decoded(world.get("Secret", "voice-keys")) == keys


async def test_every_server_has_keys_of_its_own(world: World) -> None:
    for name in ("voice", "video"):
        world.kubernetes.put(manifests.server(name))
        await world.reconcile("LiveKitServer", name)
    assert decoded(world.get("Secret", "voice-keys")) != decoded(world.get("Secret", "video-keys"))


async def test_ready_when_it_answers(world: World) -> None:
    await world.with_server()
    server = world.get("LiveKitServer", "voice")
    status = server["status"]
    assert status.pop("conditions")[0]["message"] == "The server answers at wss://voice.example.com."
    assert status == {
        "observedGeneration": 1,
        "version": "v1.13.5",
        "replicas": 1,
        "readyReplicas": 1,
        "internalUrl": "ws://voice-livekit.team.svc:7880",
        "externalUrl": "wss://voice.example.com",
        "keysSecretName": "voice-keys",
        "ports": [
            {"name": "signal", "protocol": "TCP", "port": 7880},
            {"name": "ice-tcp", "protocol": "TCP", "port": 7881},
            {"name": "media", "protocol": "UDP", "port": 50100, "endPort": 50200},
        ],
        "rooms": 0,
        "participants": 0,
    }
    keys = decoded(world.get("Secret", "voice-keys"))
    assert set(world.livekit.connections) == {("ws://voice-livekit.team.svc:7880", keys["apiKey"], keys["apiSecret"])}


async def test_without_an_external_url_it_is_the_nodes(world: World) -> None:
    world.kubernetes.put(manifests.server(signal={}))
    await world.settle()
    assert "externalUrl" not in world.get("LiveKitServer", "voice")["status"]
    world.run_server(address="2001:db8::7")
    await world.settle()
    assert world.get("LiveKitServer", "voice")["status"]["externalUrl"] == "ws://[2001:db8::7]:7880"
    assert world.livekit.closed == len(world.livekit.connections) - 1, "connections that are no longer right are closed"


async def test_rooms_and_participants_are_counted_by_one_request(world: World) -> None:
    await world.with_server()
    for number in range(3):
        world.kubernetes.put(manifests.room(f"room-{number}"))
    await world.settle()
    world.livekit.join("room-1", "alice")
    world.livekit.join("room-1", "bob")
    world.livekit.join("room-1", "agent", agent_name="front-desk")
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    assert world.livekit.requests == [("list_rooms",)]
    status = world.get("LiveKitServer", "voice")["status"]
    assert (status["rooms"], status["participants"]) == (3, 2)
    assert world.woken == {("MeetingRoom", (NAMESPACE, "room-1"))}


async def test_a_foreign_keys_secret_is_left_alone(world: World) -> None:
    foreign = world.kubernetes.put(manifests.keys_secret("voice-keys"))
    world.kubernetes.put(manifests.server())
    again = await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "NotOwned")
    assert "Secret team/voice-keys" in world.message("LiveKitServer", "voice")
    assert world.get("Secret", "voice-keys") == foreign
    assert again is not None
    world.kubernetes.vanish("Secret", NAMESPACE, "voice-keys")
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")


@pytest.mark.parametrize("kind", ["ConfigMap", "Service", "Deployment"])
async def test_a_foreign_child_is_left_alone(world: World, kind: str) -> None:
    spec: dict[str, Any] = {"template": {"spec": {"containers": []}}} if kind == "Deployment" else {}
    foreign = world.kubernetes.put(
        {"kind": kind, "metadata": {"name": "voice-livekit", "namespace": NAMESPACE}, "spec": spec}
    )
    world.kubernetes.put(manifests.server())
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "NotOwned")
    assert f"{kind} team/voice-livekit" in world.message("LiveKitServer", "voice")
    assert world.get(kind, "voice-livekit") == foreign


async def test_a_given_secret_is_awaited_and_used(world: World) -> None:
    world.kubernetes.put(manifests.server(keysSecretRef={"name": "my-keys"}))
    again = await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "SecretNotFound")
    assert "my-keys" in world.message("LiveKitServer", "voice")
    assert again is not None, "a Secret that is not ours is not watched"
    assert world.kubernetes.names("Deployment") == []
    given = world.kubernetes.put(manifests.keys_secret("my-keys"))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")
    assert world.get("Secret", "my-keys") == given
    assert world.kubernetes.names("Secret") == ["my-keys"]
    assert world.livekit.connections[-1][1:] == (API_KEY, API_SECRET)
    assert [event[:2] for event in world.events()] == [("Warning", "SecretNotFound")]


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        pytest.param(manifests.keys_secret(api_secret="x" * 31), "shorter than 32", id="short secret"),
        pytest.param(manifests.secret("my-keys", apiKey="APIx"), "no key apiSecret", id="no secret"),
        pytest.param(manifests.secret("my-keys", apiSecret="x" * 40), "no key apiKey", id="no key"),
        pytest.param(manifests.secret("my-keys", apiKey="  ", apiSecret="x" * 40), "no key apiKey", id="blank"),
        pytest.param({**manifests.secret("my-keys"), "data": None}, "no key apiKey", id="empty"),
        pytest.param({**manifests.secret("my-keys"), "data": {"apiKey": "%"}}, "no key apiKey", id="no base64"),
    ],
)
async def test_wrong_keys_are_named_and_heal(world: World, secret: dict[str, Any], message: str) -> None:
    world.kubernetes.put(secret)
    world.kubernetes.put(manifests.server(keysSecretRef={"name": "my-keys"}))
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "KeysInvalid")
    assert message in world.message("LiveKitServer", "voice")
    world.kubernetes.edit("Secret", NAMESPACE, "my-keys", {"data": manifests.keys_secret()["data"]})
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "Progressing")


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        pytest.param("Deployment", {"spec": {"replicas": 5}}, id="replicas"),
        pytest.param("Deployment", {"spec": {"template": {"spec": {"hostNetwork": False}}}}, id="host network"),
        pytest.param("Deployment", {"spec": {"template": {"spec": {"containers": []}}}}, id="containers"),
        pytest.param("Deployment", {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}, id="labels"),
        pytest.param("Service", {"spec": {"ports": []}}, id="ports"),
        pytest.param("Service", {"spec": {"selector": {"app.kubernetes.io/instance": "x"}}}, id="selector"),
        pytest.param("ConfigMap", {"data": {"livekit.yaml": "port: 1"}}, id="configuration"),
        pytest.param("ConfigMap", {"data": None}, id="no configuration"),
    ],
)
async def test_what_is_changed_by_hand_is_put_back(world: World, kind: str, patch: dict[str, Any]) -> None:
    await world.with_server()
    before = world.get(kind, "voice-livekit")
    world.kubernetes.edit(kind, NAMESPACE, "voice-livekit", patch)
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    after = world.get(kind, "voice-livekit")
    assert {**after, "metadata": {}} == {**before, "metadata": {}}
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert [write.what for write in world.kubernetes.writes if write.verb == "apply"] == [f"apply {kind}/voice-livekit"]


@pytest.mark.parametrize("kind", ["Deployment", "Service", "ConfigMap"])
async def test_what_is_deleted_by_hand_is_made_again(world: World, kind: str) -> None:
    await world.with_server()
    world.kubernetes.vanish(kind, NAMESPACE, "voice-livekit")
    await world.settle()
    assert world.get(kind, "voice-livekit")


async def test_what_the_api_server_adds_is_no_change(world: World) -> None:
    await world.with_server()
    world.kubernetes.edit("Deployment", NAMESPACE, "voice-livekit", {"spec": {"paused": False}})
    world.kubernetes.edit("Service", NAMESPACE, "voice-livekit", {"spec": {"clusterIPs": ["10.96.0.10"]}})
    world.forget()
    await world.reconcile("LiveKitServer", "voice")
    assert [what for what in world.written() if what.startswith("apply")] == []


async def test_a_child_without_our_label_is_still_ours(world: World) -> None:
    await world.with_server()
    unlabelled = {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}
    world.kubernetes.edit("ConfigMap", NAMESPACE, "voice-livekit", unlabelled)
    await world.reconcile("LiveKitServer", "voice")
    assert world.get("ConfigMap", "voice-livekit")["metadata"]["labels"]["app.kubernetes.io/managed-by"]


async def test_lost_keys_are_made_anew_and_reach_everybody(world: World) -> None:
    await world.with_server()
    world.kubernetes.put(manifests.room(tokens=[{"identity": "alice"}]))
    await world.settle()
    before = decoded(world.get("Secret", "support-42-alice"))
    world.kubernetes.vanish("Secret", NAMESPACE, "voice-keys")
    await world.settle()
    world.run_server()  # the Deployment changed, its controller replaces the server
    await world.settle()
    after = decoded(world.get("Secret", "support-42-alice"))
    assert after["token"] != before["token"]
    assert {**after, "token": ""} == {**before, "token": ""}


async def test_a_changed_spec_is_applied_and_observed(world: World) -> None:
    await world.with_server()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"version": "v1.13.4"}})
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "RollingOut")
    status = world.get("LiveKitServer", "voice")["status"]
    assert (status["observedGeneration"], status["version"]) == (2, "v1.13.4")
    world.run_server()
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")


async def test_scaled_to_zero_is_said(world: World) -> None:
    await world.with_server()
    world.kubernetes.edit("LiveKitServer", NAMESPACE, "voice", {"spec": {"replicas": 0}})
    await world.settle()
    world.run_server()
    await world.settle()
    assert world.ready("LiveKitServer", "voice") == ("False", "ScaledToZero")


@pytest.mark.parametrize("problem", [ServerUnreachable("refused"), ServerRefused("unauthenticated", "no key")])
async def test_a_server_that_runs_but_does_not_answer(world: World, problem: Any) -> None:
    await world.with_server()
    world.livekit.problem = problem
    again = await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("False", "ServerUnreachable")
    assert str(problem) in world.message("LiveKitServer", "voice")
    status = world.get("LiveKitServer", "voice")["status"]
    assert "rooms" not in status, "an old number would be a lie"
    assert again == 5.0
    world.livekit.problem = None
    await world.reconcile("LiveKitServer", "voice")
    assert world.ready("LiveKitServer", "voice") == ("True", "Ready")
    assert [event[:2] for event in world.events()] == [
        ("Normal", "Ready"),
        ("Warning", "ServerUnreachable"),
        ("Normal", "Ready"),
    ]


async def test_a_pod_that_cannot_be_created_is_explained(world: World) -> None:
    world.kubernetes.put(manifests.server())
    await world.settle()
    failure = {"type": "ReplicaFailure", "status": "True", "message": "forbidden by quota"}
    world.kubernetes.edit("Deployment", NAMESPACE, "voice-livekit", {"conditions": [failure]}, status=True)
    await world.settle()
    assert "forbidden by quota" in world.message("LiveKitServer", "voice")


async def test_a_deleted_server_leaves_its_children_to_the_garbage_collector(world: World) -> None:
    await world.with_server()
    world.forget()
    closed = world.livekit.closed
    world.kubernetes.ask_to_delete("LiveKitServer", NAMESPACE, "voice")
    await world.reconcile("LiveKitServer", "voice")
    assert world.kubernetes.writes == []
    assert world.kubernetes.names("Secret") == world.kubernetes.names("Deployment") == []
    assert world.livekit.closed == closed + 1
    assert world.context.servers == {}


async def test_without_a_webhook_url_the_server_is_told_of_none(world: World) -> None:
    quiet = World(Settings(agent_image="agent:1"))
    quiet.kubernetes.put(manifests.server())
    await quiet.settle()
    assert "webhook" not in quiet.get("ConfigMap", "voice-livekit")["data"]["livekit.yaml"]
    world.kubernetes.put(manifests.server())
    await world.settle()
    config = world.get("ConfigMap", "voice-livekit")["data"]["livekit.yaml"]
    assert "http://operator:8080/webhooks/team/voice" in config


async def test_a_failing_api_server_is_an_error_and_heals(world: World) -> None:
    world.kubernetes.fail("apply", "Service", KubernetesError(500, "InternalError", "etcd"), once=True)
    world.kubernetes.put(manifests.server())
    with pytest.raises(KubernetesError, match="etcd"):
        await world.reconcile("LiveKitServer", "voice")
    await world.settle()
    assert world.get("Service", "voice-livekit")


async def test_no_key_is_in_anything_but_a_secret(world: World) -> None:
    await world.with_server()
    await world.with_pool()
    secret = decoded(world.get("Secret", "voice-keys"))["apiSecret"]
    others = [m for key, m in world.kubernetes.objects.items() if key[0] != "Secret"]
    assert others
    assert secret not in repr(others)
