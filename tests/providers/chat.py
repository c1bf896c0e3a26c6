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

from . import calling
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
        offered = calling.offered(body.get("tools"))
        known: dict[str, object] = {"tools": offered} if offered else {}
        known["told"] = [text for role in ("system", "developer") for text in _texts(body.get("messages", []), role)]
        self._control.log("llm", "asked", connection, question=question, model=body.get("model"), **known)
        if fault.hang:
            await forever()
        told = calling.result(body.get("messages", []))
        call = calling.scripted(self._control.calls, question) if told is None else None
        await asyncio.sleep(self._control.delays.llm_first_token_ms / 1000)
        if call and call["name"] in offered:
            return await self._call(request, body, call, connection)
        answer = calling.NOT_OFFERED if call else answer_to(question) if told is None else told
        if not body.get("stream"):
            self._control.log("llm", "answered", connection, answer=answer)
            return web.json_response(_completion(body, answer))
        return await self._answer(request, body, answer, connection, fault.drop_after)

    async def _call(
        self, request: web.Request, body: Mapping[str, Any], call: calling.Call, connection: str
    ) -> web.StreamResponse:
        """Stream the call of a function."""
        chunk = await _ChunkWriter.begin(request, body)
        self._control.log("llm", "called", connection, **call)
        for delta in calling.deltas(call):
            await chunk.write(delta)
        return await chunk.end("tool_calls", _usage(body, ""))

    async def _answer(
        self, request: web.Request, body: Mapping[str, Any], answer: str, connection: str, drop_after: int | None
    ) -> web.StreamResponse:
        """Stream an answer, word by word."""
        chunk = await _ChunkWriter.begin(request, body)
        await chunk.write({"role": "assistant", "content": ""})
        for sent, token in enumerate(re.findall(r"\s*\S+", answer)):
            if drop_after is not None and sent >= drop_after:
                self._control.log("llm", "dropped", connection, tokens=sent)
                assert request.transport is not None
                request.transport.abort()
                return chunk.response
            if sent == 0:
                self._control.log("llm", "first_token", connection)
            else:
                await asyncio.sleep(self._control.delays.llm_token_ms / 1000)
            await chunk.write({"content": token})
        response = await chunk.end("stop", _usage(body, answer))
        self._control.log("llm", "answered", connection, answer=answer)
        return response


class _ChunkWriter:
    """Writes the server-sent events of one completion."""

    @classmethod
    async def begin(cls, request: web.Request, body: Mapping[str, Any]) -> "_ChunkWriter":
        """Begin to answer a request."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        return cls(response, body)

    def __init__(self, response: web.StreamResponse, body: Mapping[str, Any]) -> None:
        self.response = response
        self._counts = bool((body.get("stream_options") or {}).get("include_usage"))
        self._common = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": str(body.get("model", "")),
        }

    async def write(self, delta: Mapping[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        await self._send({**self._common, "choices": [choice]})

    async def end(self, finish: str, usage: Mapping[str, Any]) -> web.StreamResponse:
        """Say why it ends, what it cost where that is asked, and end."""
        await self.write({}, finish)
        if self._counts:
            await self._send({**self._common, "choices": [], "usage": usage})
        await self.response.write(b"data: [DONE]\n\n")
        await self.response.write_eof()
        return self.response

    async def _send(self, event: Mapping[str, Any]) -> None:
        await self.response.write(f"data: {json.dumps(event)}\n\n".encode())


def _last_question(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """The text of the last user message."""
    return next(iter(_texts(messages, "user")[::-1]), None)


def _texts(messages: Sequence[Mapping[str, Any]], role: str) -> list[str]:
    """The texts of a role's messages; a content is a string or a list of parts."""
    return [_text(message.get("content")) for message in messages if message.get("role") == role]


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content or [] if part.get("type") == "text")


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
