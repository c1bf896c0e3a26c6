"""Telling the hostile server, wherever it runs, what to do next."""

from collections.abc import Callable

import aiohttp

from tests.harness.kubectl import until

# One that hangs is asked again after a minute at the latest.
_SECONDS = 90


async def begin(url: str, mode: str) -> None:
    """Have it do something else from now on."""
    async with aiohttp.ClientSession() as session, session.put(f"{url}/mode/{mode}") as answer:
        assert answer.status == 200


async def asked(url: str, mode: str, requests: int = 1) -> None:
    """Wait until it was asked so often since it began."""
    async with aiohttp.ClientSession() as session:

        async def look() -> bool:
            async with session.get(f"{url}/asked") as answer:
                return int(await answer.json()) >= requests

        await until(f"{requests} requests in mode {mode}", look, seconds=_SECONDS)


async def misbehave(url: str, mode: str, *, requests: int = 1, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Have it do something else, and wait until it was asked so often since."""
    await begin(url, mode)
    meanwhile()
    await asked(url, mode, requests)
