"""One turn played through the agent's own machinery, against canned answers and without any network.

Libraries put off work to first use: building pydantic validators (openai defers all of its own), reading
signatures, filling caches. Imports alone do not trigger it. Played once before forking, every job process
inherits the result; played by the first words of a live call it blocks the event loop for 100 ms and more.
"""

from __future__ import annotations

import asyncio
import json
import logging

import httpx2
from livekit.agents import Agent, AgentSession
from livekit.plugins.openai import LLM
from openai import AsyncOpenAI
from openai.pagination import AsyncPage
from openai.types import Model

logger = logging.getLogger(__name__)

_TIMEOUT = 10.0
MODELS_PAGE = AsyncPage[Model]  # held, because pydantic only remembers a generic model for as long as someone does
_CHUNK = {"id": "rehearsal", "object": "chat.completion.chunk", "created": 0, "model": "rehearsal"}
_STREAM = (
    {**_CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hello."}, "finish_reason": None}]},
    {**_CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    {**_CHUNK, "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}},
)
_MODELS = {"object": "list", "data": [{"id": "rehearsal", "object": "model", "created": 0, "owned_by": "nobody"}]}


def _answer(request: httpx2.Request) -> httpx2.Response:
    if request.url.path.endswith("/models"):
        return httpx2.Response(200, json=_MODELS)
    events = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in _STREAM)
    return httpx2.Response(200, text=f"{events}data: [DONE]\n\n", headers={"content-type": "text/event-stream"})


async def play() -> str:
    """Play one turn of text and return the agent's answer."""
    transport = httpx2.AsyncClient(transport=httpx2.MockTransport(_answer))
    client = AsyncOpenAI(api_key="rehearsal", base_url="http://rehearsal.invalid/v1", http_client=transport)
    async with (
        client,
        AgentSession[None](llm=LLM(client=client), vad=None, turn_handling={"turn_detection": None}) as session,
    ):
        await client.models.list()  # the session asks for it too, but need not get an answer before the turn ends
        await session.start(Agent(instructions="Answer."), record=False)
        await session.run(user_input="Hello?")
        return next((item.text_content or "" for item in reversed(session.history.items) if item.type == "message"), "")


def rehearse() -> None:
    """Play the turn; a rehearsal that fails costs the first call some time and nothing else."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        asyncio.run(asyncio.wait_for(play(), _TIMEOUT))
    except Exception:
        logger.exception("the rehearsal failed")
    finally:
        logging.disable(level)
