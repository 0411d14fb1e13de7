"""Names that live in Redis: streams, groups, channels and queues, in one place.

A queue or task name carries a version: a worker of the previous release discards a task
that it does not know, so a changed task gets a new name and a new queue.
"""

from __future__ import annotations

import secrets

from gantry.reception.v1.reception_pb2 import Lane

INDEX_LIVE = "index.live"
INDEX_BULK = "index.bulk"
INDEX_REPLAY = "index.replay"
# In the order of their right of way.
INDEX_STREAMS = (INDEX_LIVE, INDEX_BULK, INDEX_REPLAY)
INDEX_GROUP = "indexer"

EVENTS = "events"

# One field an entry: the sealed message.
BODY = b"m"

ISOLATE_QUEUE = "isolate.v1"
REPLAY_QUEUE = "replay.v1"
AMEND_QUEUE = "amend.v1"

_STREAM_OF_LANE = {
    Lane.LANE_BULK: INDEX_BULK,
    Lane.LANE_REPLAY: INDEX_REPLAY,
}


def stream_of(lane: Lane) -> str:
    """Return the stream of a traffic class; an unspecified one is live."""
    return _STREAM_OF_LANE.get(lane, INDEX_LIVE)


def new_verdict_channel() -> str:
    """Return a channel name that no other process has or can guess."""
    return f"verdicts.{secrets.token_hex(16)}"
