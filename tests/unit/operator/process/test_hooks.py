"""What kopf is told when the process begins."""

import itertools

import kopf

from livekit_operator.process.hooks import configure


def test_kopf_asks_the_api_server_until_it_answers() -> None:
    settings = kopf.OperatorSettings()
    configure(settings)
    backoffs = settings.networking.error_backoffs
    assert not isinstance(backoffs, float | int)
    for _ in range(2):  # requests share it
        assert len(list(itertools.islice(backoffs, 1000))) == 1000
