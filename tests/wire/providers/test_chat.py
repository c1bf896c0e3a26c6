"""The real OpenAI client of the agents, thinking through the stand-in."""

import asyncio

import pytest
from livekit.agents import APIConnectOptions, APIError, APIStatusError
from livekit.agents.llm import ChatContext
from livekit.plugins import openai

from tests.providers.script import ANSWERS, FALLBACK_GREETING
from tests.wire.providers.conftest import StandIn

_ONCE = APIConnectOptions(max_retry=0, timeout=1)
_QUESTION = "What are your opening hours?"


async def _ask(stand_in: StandIn, question: str | None, key: str | None = None) -> tuple[str, int]:
    """The answer, and how many tokens the usage counts."""
    model = openai.LLM(model="gpt-4o-mini", base_url=stand_in.url, api_key=key or stand_in.keys.openai)
    context = ChatContext.empty()
    context.add_message(role="system", content="You answer the phone of a dental practice.")
    if question is not None:
        context.add_message(role="user", content=question)
    answer, tokens = "", 0
    try:
        async with model.chat(chat_ctx=context, conn_options=_ONCE) as stream:
            async for chunk in stream:
                answer += (chunk.delta.content or "") if chunk.delta else ""
                tokens += chunk.usage.completion_tokens if chunk.usage else 0
    finally:
        await model.aclose()
    return answer, tokens


@pytest.mark.parametrize(("question", "answer"), ANSWERS.items())
async def test_known_questions_have_their_answers(stand_in: StandIn, question: str, answer: str) -> None:
    assert await _ask(stand_in, question) == (answer, len(answer.split()))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("what are your opening hours", ANSWERS[_QUESTION]),
        (f"Goodbye. {_QUESTION}", ANSWERS[_QUESTION]),
        ("Is it raining?", "You said: Is it raining?"),
        (None, FALLBACK_GREETING),
    ],
)
async def test_other_spellings_unknown_questions_and_none(stand_in: StandIn, question: str | None, answer: str) -> None:
    assert (await _ask(stand_in, question))[0] == answer


async def test_models_can_be_listed_as_the_prewarm_does(stand_in: StandIn) -> None:
    headers = {"Authorization": f"Bearer {stand_in.keys.openai}"}
    async with stand_in.session.get(f"{stand_in.url}/models", headers=headers) as response:
        assert response.status == 200
        assert "gpt-4o-mini" in [model["id"] for model in (await response.json())["data"]]


async def test_a_wrong_key_is_refused(stand_in: StandIn) -> None:
    with pytest.raises(APIStatusError) as error:
        await _ask(stand_in, _QUESTION, key="wrong")
    assert error.value.status_code == 401


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_status_can_be_injected(stand_in: StandIn, status: int) -> None:
    stand_in.control.change({"faults": {"llm": {"status": status}}})
    with pytest.raises(APIStatusError) as error:
        await _ask(stand_in, _QUESTION)
    assert error.value.status_code == status


@pytest.mark.parametrize("fault", [{"drop_after": 3}, {"hang": True}])
async def test_an_answer_that_breaks_or_hangs_is_an_error(stand_in: StandIn, fault: dict[str, object]) -> None:
    stand_in.control.change({"faults": {"llm": fault}})
    with pytest.raises(APIError):
        await _ask(stand_in, _QUESTION)


async def test_tokens_can_be_delayed(stand_in: StandIn) -> None:
    stand_in.control.change({"delays": {"llm_first_token_ms": 200, "llm_token_ms": 10}})
    begin = asyncio.get_running_loop().time()
    await _ask(stand_in, _QUESTION)
    assert asyncio.get_running_loop().time() - begin >= 0.2 + 0.009 * len(ANSWERS[_QUESTION].split())


async def test_a_function_is_called_by_script_and_its_result_said(stand_in: StandIn) -> None:
    stand_in.control.change({"calls": {_QUESTION: {"name": "hours", "arguments": {"day": "monday"}}}})
    headers = {"Authorization": f"Bearer {stand_in.keys.openai}"}
    asked = {"role": "user", "content": _QUESTION}
    tools = [{"type": "function", "function": {"name": "hours", "parameters": {"type": "object"}}}]
    results: list[str] = []
    for messages, offered in (
        ([asked], tools),
        ([asked], []),
        ([asked, {"role": "tool", "content": "all day"}], tools),
    ):
        body = {"messages": messages, "tools": offered, "stream": True}
        async with stand_in.session.post(f"{stand_in.url}/chat/completions", json=body, headers=headers) as response:
            results.append(await response.text())
    called, refused, told = results
    assert '"name": "hours"' in called
    assert '"finish_reason": "tool_calls"' in called
    assert '" cannot"' in refused
    assert '"all"' in told
