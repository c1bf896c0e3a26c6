"""Each kind is told from the others, and what is written of it is read by its own model."""

import yaml

from livekit_operator.api.kinds import BY_KIND, KINDS
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.api.meetingroom import MeetingRoom
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from tests.unit.operator.api.three import EXAMPLE


def test_the_example_is_understood() -> None:
    parsed = [BY_KIND[doc["kind"]].model.model_validate(doc) for doc in yaml.safe_load_all(EXAMPLE)]
    server, pool, room = parsed
    assert isinstance(server, LiveKitServer)
    assert isinstance(pool, VoiceAgentPool)
    assert isinstance(room, MeetingRoom)
    assert server.spec.media.udp is not None
    assert server.spec.media.udp.port_range is not None
    assert server.spec.media.udp.port_range.end == 50200
    assert server.spec.signal.external_url == "wss://voice.example.com"
    assert pool.spec.agent.stt is not None
    assert pool.spec.agent.stt.api_key_secret_ref is not None
    assert pool.spec.agent.stt.api_key_secret_ref.key == "deepgram"
    assert pool.spec.autoscaling is not None
    assert [token.role for token in room.spec.tokens] == ["Participant", "Viewer"]
    assert room.key == ("team", "support-42")


def test_no_two_kinds_share_a_name() -> None:
    names = [name for kind in KINDS for name in (kind.singular, kind.plural, kind.short_name)]
    assert len(set(names)) == len(names) == 3 * len(BY_KIND)
    assert [kind.plural for kind in KINDS] == [f"{kind.singular}s" for kind in KINDS]
