"""Puts the providers, the controls and the health check on one port."""

import json
from collections.abc import Iterable

from aiohttp import web

from .chat import Chat
from .control import Control, ControlError
from .keys import Keys
from .listen import Listen
from .realtime import Realtime
from .recognition import RATE, Recogniser
from .recorded import QUESTION, recorded
from .script import AGENT_LINES, CALLER_LINES, sentences
from .speak import Speak
from .speech import AGENT_VOICE, CALLER_VOICE, prepare
from .spoken import Speech
from .transcriptions import Transcriptions

_TTS_RATE = 24000  # the plugin's default; other rates are synthesised when first asked for


def application(control: Control, keys: Keys, extra_lines: Iterable[str] = ()) -> web.Application:
    """Build the server; synthesises every known sentence first, so that no request waits for it."""
    spoken = prepare((*CALLER_LINES, *extra_lines), RATE, CALLER_VOICE)
    # Of the recordings one: what recognition takes grows with each line that is known.
    recogniser = Recogniser((*spoken, recorded(QUESTION, RATE)))
    prepare((sentence for line in AGENT_LINES for sentence in sentences(line)), _TTS_RATE, AGENT_VOICE)
    app = web.Application()
    for provider in (
        Chat(control, keys),
        Speak(control, keys),
        Listen(control, keys, recogniser),
        Transcriptions(control, keys, recogniser),
        Speech(control, keys),
        Realtime(control, keys, recogniser),
    ):
        app.router.add_routes(provider.routes())
    app.router.add_routes(_control_routes(control))
    return app


def _control_routes(control: Control) -> list[web.RouteDef]:
    async def healthy(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def show(_: web.Request) -> web.Response:
        return web.json_response(control.state())

    async def change(request: web.Request) -> web.Response:
        try:
            control.change(await request.json())
        except (ControlError, json.JSONDecodeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(control.state())

    async def log(request: web.Request) -> web.Response:
        return web.json_response(control.events(int(request.query.get("since", 0))))

    async def clear(_: web.Request) -> web.Response:
        control.clear_log()
        return web.Response(status=204)

    return [
        web.get("/healthz", healthy),
        web.get("/control", show),
        web.put("/control", change),
        web.get("/control/log", log),
        web.delete("/control/log", clear),
    ]
