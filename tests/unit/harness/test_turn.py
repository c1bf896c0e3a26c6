"""STUN messages are written and read as RFC 5769's samples have them."""

from tests.harness.turn import attribute, attributes_of, from_xored, to_xored

# RFC 5769, 2.2: the XOR-MAPPED-ADDRESS of a sample response.
ADDRESS = bytes.fromhex("0001a147e112a643")


def test_an_address_is_hidden_by_the_cookie() -> None:
    assert from_xored(ADDRESS) == ("192.0.2.1", 32853)
    assert to_xored("192.0.2.1", 32853) == ADDRESS


def test_attributes_are_filled_up_and_their_filling_is_not_read() -> None:
    body = attribute(0x0006, b"alice") + attribute(0x0014, b"livekit") + attribute(0x0006, b"bob")
    assert len(body) % 4 == 0
    assert attributes_of(body) == {0x0006: b"alice", 0x0014: b"livekit"}
