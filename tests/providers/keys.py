"""Refuses wrong keys and plays injected statuses in the form each real provider uses."""

import hmac
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

Protocol = Literal["deepgram", "openai"]

_DEEPGRAM = {
    401: ("INVALID_AUTH", "Invalid credentials."),
    429: ("TOO_MANY_REQUESTS", "Too many requests. Please try again later"),
}
_OPENAI = {
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
}


@dataclass(frozen=True)
class Keys:
    """The keys the stand-in accepts."""

    deepgram: str = "test-deepgram-key"
    openai: str = "test-openai-key"

    def accepts(self, protocol: Protocol, request: web.Request) -> bool:
        """Whether a request carries the provider's key (Deepgram: `Token KEY`, OpenAI: `Bearer KEY`)."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        wanted_scheme, wanted = ("bearer", self.openai) if protocol == "openai" else ("token", self.deepgram)
        return scheme.lower() == wanted_scheme and hmac.compare_digest(key.encode(), wanted.encode())


def refusal(protocol: Protocol, status: int) -> web.Response:
    """The provider's own words for an HTTP status."""
    request_id = str(uuid.uuid4())
    if protocol == "openai":
        kind, code, message = _OPENAI.get(
            status, ("server_error", None, "The server had an error while processing your request.")
        )
        body: dict[str, Any] = {"error": {"message": message, "type": kind, "param": None, "code": code}}
        return web.json_response(body, status=status, headers={"x-request-id": request_id})
    code, message = _DEEPGRAM.get(status, ("INTERNAL_SERVER_ERROR", "An internal error occurred."))
    body = {"err_code": code, "err_msg": message, "request_id": request_id}
    return web.json_response(body, status=status, headers={"dg-request-id": request_id, "dg-error": message})
