"""Connections to Redis that give up soon and never retry behind the caller's back."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

# What a call can raise when Redis is down, slow, full or talking nonsense.
TROUBLE = (RedisError, OSError)


def connect(redis_url: str, *, timeout: float = 1.0) -> Redis:
    """Return a lazily connecting client whose every wait ends after ``timeout`` seconds.

    RESP2 keeps the shape of answers the same whatever the server; the library's default of
    three retries with back-off would turn one second into ten.
    """
    return Redis.from_url(
        redis_url,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )


async def drop_connections(client: Redis) -> None:
    """Close the client's connections, also one left in the middle of an answer."""
    await client.connection_pool.disconnect(inuse_connections=True)


async def call(client: Redis, *command: str | bytes | int) -> Any:  # noqa: ANN401 - any RESP value
    """Send one command as it stands; for those whose wrappers in the library hide options."""
    return await cast("Awaitable[Any]", client.execute_command(*command))  # type: ignore[no-untyped-call]
