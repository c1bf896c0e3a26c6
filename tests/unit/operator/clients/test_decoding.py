"""Whatever an object holds, what it is called is read, and what stands beside it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livekit_operator.clients import decoding
from livekit_operator.clients.decoding import MOST_BYTES, MOST_VALUES, UNREAD, Unreadable

NAMED = {"name": "a", "namespace": "team", "uid": "u-1", "resourceVersion": "7", "labels": {"uid": "no", "x": "}{"}}


def nested(levels: int) -> str:
    return '{"a":' * levels + "{}" + "}" * levels


def of(spec: str, **metadata: Any) -> bytes:
    managed = '{"manager":"m","fieldsV1":' + spec + "}"
    written = json.dumps({**metadata, **NAMED})[:-1] + f',"managedFields":[{managed}]}}'
    return f'{{"apiVersion":"v1","kind":"Pod","metadata":{written},"spec":{spec}}}'.encode()


DEEP = of(nested(2000))
WIDE = of("[" + "[]," * MOST_VALUES + "[]]")
LONG = of('"' + "<" * MOST_BYTES + '"')
BAD = {"deep": DEEP, "wide": WIDE, "long": LONG, "no JSON": of("[tru]")}


@pytest.mark.parametrize("raw", BAD.values(), ids=BAD)
def test_what_cannot_be_parsed_is_named(raw: bytes) -> None:
    stub = decoding.read_object(raw)
    assert stub == {"apiVersion": "v1", "kind": "Pod", "metadata": NAMED, UNREAD: stub[UNREAD]}
    assert stub[UNREAD]
    assert decoding.read_event(b'{"type":"DELETED","object":' + raw + b"}") == ("DELETED", stub)


def test_it_says_what_is_wrong() -> None:
    assert decoding.read_object(DEEP)[UNREAD] == "it is nested too deeply"
    assert decoding.read_object(WIDE)[UNREAD] == f"it has more than {MOST_VALUES} values"
    assert decoding.read_object(LONG)[UNREAD] == f"it is longer than {MOST_BYTES} bytes"


def test_long_texts_are_no_values() -> None:
    raw = of(json.dumps(',"[{\\' * MOST_VALUES))
    assert decoding.read_object(raw) == json.loads(raw)


def test_a_line_of_which_only_the_beginning_is_there_is_named() -> None:
    event = b'{"type":"MODIFIED","object":' + LONG
    kind, stub = decoding.read_event(event[:100_000], whole=False)
    assert (kind, stub["metadata"]) == ("MODIFIED", NAMED)


def test_of_long_metadata_only_the_short_parts_are_kept() -> None:
    stub = decoding.read_object(of(nested(2000), annotations={"a": "x" * 100_000}, finalizers=["f"]))
    assert stub["metadata"] == {**NAMED, "finalizers": ["f"]}


NAMELESS = [
    b"",
    b"{",
    b"[]",
    b"7",
    b"null",
    b'{"metadata":{"name":',
    b'{"metadata":[}',
    b'"' * 9,
    nested(3000).encode(),
    b"\xff",
]


@pytest.mark.parametrize("raw", NAMELESS)
def test_what_has_no_name_is_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        decoding.read_object(raw)
    with pytest.raises(Unreadable):
        decoding.read_event(raw)


@pytest.mark.parametrize("found", ["{}", "7", '{"metadata":{"name":7}}', '{"metadata":[]}'])
def test_an_event_of_no_object_is_unreadable(found: str) -> None:
    with pytest.raises(Unreadable):
        decoding.read_event(f'{{"type":"ADDED","object":{found}}}'.encode())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_any_value_is_passed_over(value: Any) -> None:
    raw = json.dumps({"before": value, "metadata": {"x": value, "name": "a"}, "after": value}).encode()
    assert decoding._stub(raw, 0, "why")["metadata"] == {"name": "a"}


def page(*items: bytes, last: bool = True) -> bytes:
    metadata = b'"metadata":{"resourceVersion":"9","continue":"next"}'
    listed = b'"items":[' + b",".join(items) + b"]"
    return b'{"kind":"PodList",' + (listed + b"," + metadata if last else metadata + b"," + listed) + b"}"


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_page_with_one_that_cannot_be_parsed_has_the_others(bad: bytes, last: bool) -> None:
    good = of("{}")
    raw = page(good, bad, good, last=last)
    if bad is not LONG:
        assert decoding.read_page(raw) is None
    parts = list(decoding.page_parts(raw))
    assert [part for name, part in parts if name == "item"] == [good, bad, good]
    assert [json.loads(part) for name, part in parts if name == "metadata"] == [
        {"resourceVersion": "9", "continue": "next"}
    ]


def test_a_page_is_read_as_a_whole() -> None:
    items, metadata = decoding.read_page(page(of("{}"), of("[1]"))) or ([], {})
    assert [item["spec"] for item in items] == [{}, [1]]
    assert metadata["continue"] == "next"
    assert decoding.read_page(b'{"metadata":{},"items":null}') == ([], {})
    assert decoding.read_page(page(*[of("[" + "1," * 5_000 + "1]")] * 20)) is not None
    assert decoding.read_page(page(*[of("[" + "1," * 5_000 + "1]")] * 80)) is None


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b'{"items":[', b'{"items":[{]'])
def test_what_is_no_page_is_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        list(decoding.page_parts(raw))


class Content:
    """A stream in the pieces it comes in."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks

    async def iter_any(self) -> AsyncIterator[bytes]:
        for chunk in self.chunks:
            yield chunk


async def lines(*chunks: bytes, most: int = 8) -> list[tuple[bytes, bool]]:
    return [line async for line in decoding.read_lines(Content(*chunks), most)]  # type: ignore[arg-type]


async def test_lines_of_any_chunks() -> None:
    assert await lines(b"ab\nc", b"d\n\n", b"ef\n") == [(b"ab", True), (b"cd", True), (b"ef", True)]
    assert await lines() == []


async def test_a_longer_line_is_passed_over() -> None:
    seen = await lines(b"ab\n", b"12345678", b"9" * 100, b"9\nnext\n", b"12345678\n", b"123456789\n")
    assert seen == [
        (b"ab", True),
        (b"12345678", False),
        (b"next", True),
        (b"12345678", True),
        (b"12345678", False),
    ]


async def test_a_line_that_is_cut_off_is_an_error() -> None:
    with pytest.raises(ValueError, match="in the middle"):
        await lines(b"ab\ncd")
