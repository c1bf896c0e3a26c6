"""What was noted of versions is read as it was written, and nothing else is believed."""

import base64

import pytest

from livekit_operator.moments import parse_timestamp
from livekit_operator.pools.manifests import records
from tests.fakes import models
from tests.unit.operator.pools.manifests.test_versions import CREATED

RECORDS = {
    "0123456789": records.Record("d" * 64, parse_timestamp(CREATED)),
    "abcdef0123": records.Record(
        "e" * 64, parse_timestamp(CREATED), parse_timestamp("2026-03-01T12:10:00Z"), "no pod became ready", True
    ),
}


def test_records_come_back_as_they_were_written() -> None:
    secret = records.build_records(models.pool(), RECORDS)
    assert secret["metadata"]["name"] == "front-desk-agent-versions"
    assert records.read_records(secret) == RECORDS


@pytest.mark.parametrize(
    ("revision", "text"),
    [
        ("0123456789", "{"),
        ("0123456789", "[]"),
        ("0123456789", "[" * 100_000),
        ("0123456789", '{"content": "d"}'),
        ("0123456789", '{"content": "d", "created": "yesterday"}'),
        ("0123456789", '{"content": "d", "created": "9999-12-31T23:59:59Z"}'),
        ("../0123456", '{"content": "d", "created": "2026-03-01T12:00:00Z"}'),
    ],
)
def test_a_record_that_cannot_be_read_is_left_out(revision: str, text: str) -> None:
    secret = records.build_records(models.pool(), RECORDS)
    secret["data"] |= {revision: base64.b64encode(text.encode()).decode()}
    assert records.read_records(secret).keys() <= RECORDS.keys() - {revision}
    secret["data"] |= {"abcdef0123": "no base64"}
    assert records.read_records(secret).keys() <= {"0123456789"}
    assert records.read_records({"metadata": {}}) == {}
