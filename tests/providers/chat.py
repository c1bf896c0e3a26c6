"""Speaks OpenAI's streaming chat completions: the "thinking" of the conversation.

livekit-plugins-openai 1.8.9 always streams with `include_usage` (livekit/agents/inference/llm.py, LLMStream._run), and
its prewarm reads `/v1/models` (llm.py, _prewarm_impl). A greeting made by `generate_reply` has no user message.
"""

import asyncio
import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from .control import Control, forever
from .keys import Keys, refusal
from .script import answer_to

_MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini")


class Chat:
    """The routes of the language model."""

    def __init__(self, control: Control, keys: Keys) -> None:
        self._control = control
        self._keys = keys

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/models", self._models), web.post("/v1/chat/completions", self._complete)]

    async def _models(self, request: web.Request) -> web.Response:
        if not self._keys.accepts("openai", request):
            return refusal("openai", 401)
        data = [{"id": name, "object": "model", "created": 1721172741, "owned_by": "system"} for name in _MODELS]
        return web.json_response({"object": "list", "data": data})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        connection = uuid.uuid4().hex[:8]
        if not self._keys.accepts("openai", request):
            self._control.log("llm", "refused", connection, status=401)
            return refusal("openai", 401)
        fault = self._control.fault("llm")
        if fault.status is not None:
            self._control.log("llm", "refused", connection, status=fault.status)
            return refusal("openai", fault.status)
        body = await request.json()
        question = _last_question(body.get("messages", []))
        self._control.log("llm", "asked", connection, question=question, model=body.get("model"))
        if fault.hang:
            await forever()
        answer = answer_to(question)
        delays = self._control.delays
        await asyncio.sleep(delays.llm_first_token_ms / 1000)

        if not body.get("stream"):
            self._control.log("llm", "answered", connection, answer=answer)
            return web.json_response(_completion(body, answer))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        chunk = _ChunkWriter(response, str(body.get("model", "")))
        await chunk.write({"role": "assistant", "content": ""})
        tokens = re.findall(r"\s*\S+", answer)
        for sent, token in enumerate(tokens):
            if fault.drop_after is not None and sent >= fault.drop_after:
                self._control.log("llm", "dropped", connection, tokens=sent)
                assert request.transport is not None
                request.transport.abort()
                return response
            if sent == 0:
                self._control.log("llm", "first_token", connection)
            else:
                await asyncio.sleep(delays.llm_token_ms / 1000)
            await chunk.write({"content": token})
        await chunk.write({}, finish="stop")
        if (body.get("stream_options") or {}).get("include_usage"):
            await chunk.write_usage(_usage(body, answer))
        await response.write(b"data: [DONE]\n\n")
        self._control.log("llm", "answered", connection, answer=answer)
        await response.write_eof()
        return response


class _ChunkWriter:
    """Writes the server-sent events of one completion."""

    def __init__(self, response: web.StreamResponse, model: str) -> None:
        self._response = response
        self._common = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }

    async def write(self, delta: Mapping[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        await self._send({**self._common, "choices": [choice]})

    async def write_usage(self, usage: Mapping[str, Any]) -> None:
        await self._send({**self._common, "choices": [], "usage": usage})

    async def _send(self, event: Mapping[str, Any]) -> None:
        await self._response.write(f"data: {json.dumps(event)}\n\n".encode())


def _last_question(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """The text of the last user message; its content is a string or a list of parts."""
    for message in reversed(messages):
        if message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, str):
                return content
            return " ".join(part.get("text", "") for part in content or [] if part.get("type") == "text")
    return None


def _usage(body: Mapping[str, Any], answer: str) -> dict[str, Any]:
    """Counts of words stand for counts of tokens."""
    prompt = sum(len(str(message.get("content", "")).split()) for message in body.get("messages", []))
    completion = len(answer.split())
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _completion(body: Mapping[str, Any], answer: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer, "refusal": None}
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body.get("model"),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": _usage(body, answer),
    }
