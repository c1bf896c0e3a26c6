"""What the server would refuse is said before it is asked."""

from livekit_operator.rooms.decisions import limits
from livekit_operator.rooms.decisions.limits import Limits
from tests.fakes import models


def test_a_server_without_limits_takes_everything() -> None:
    unlimited = Limits(0, 0, 0, 0, 0)
    room = models.room(
        roomName="x" * 256, metadata="m" * 60000, agentDispatches=[{"agentName": "a", "attributes": {"k": "v" * 9000}}]
    )
    assert limits.beyond_limits(room, unlimited) is None


def test_the_limits_of_a_server_are_its_own_or_the_usual() -> None:
    assert Limits.of(models.server()) == Limits(512 * 1024, 64 * 1024, 256, 256, 256)
    given = {"metadataBytes": 1, "attributesBytes": 2, "roomNameLength": 3, "identityLength": 4}
    assert Limits.of(models.server(limits={**given, "participantNameLength": 0})) == Limits(1, 2, 3, 4, 0)


def test_the_metadata_of_agents_is_checked_too() -> None:
    room = models.room(agents=[{"poolRef": {"name": "a"}, "metadata": "long"}])
    assert (
        limits.beyond_limits(room, Limits(3, 0, 0, 0, 0))
        == "spec.agents[0].metadata has 4 bytes, and the server takes 3: shorten it, or raise spec.limits of the "
        "LiveKitServer."
    )
