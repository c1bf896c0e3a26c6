"""Whether anything takes connections at an address, which is all that can be known of it without speaking to it."""

import asyncio

# A node refuses within a round trip; one that drops packets says nothing at all.
_SECONDS = 1.0


async def refuses(address: str, port: int) -> bool:
    """Return whether connections are refused there; not when they are taken, or nothing comes back in time."""
    try:
        async with asyncio.timeout(_SECONDS):
            _, writer = await asyncio.open_connection(address, port)
    except ConnectionRefusedError:
        return True
    except (TimeoutError, OSError):
        return False
    writer.transport.abort()
    return False
