"""Structured logs that cannot carry patient data.

An event has a static name and fields; a field that is not on the allow-list is dropped
before anything is written, so a new field that could identify a patient needs a decision
here. Exceptions are written as type and place, never with their message or local values:
a message may quote the data it failed on. Records of libraries are written with their
template, never with their arguments.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, TextIO, cast

import structlog
from opentelemetry import trace

# UIDs are allowed: they are pseudonymous, and an incident cannot be followed without them
# (docs/adr/0002-what-logs-may-say.md).
ALLOWED_FIELDS = frozenset(
    {
        # who writes
        "event", "level", "timestamp", "service", "module", "logger", "trace_id", "pid", "worker",
        # identities that are no person's
        "study_instance_uid", "series_instance_uid", "sop_instance_uid", "sop_class_uid",
        "transfer_syntax_uid", "batch", "object_key", "partition", "store_id", "ordinal", "order_key",
        # peers
        "calling_ae_title", "called_ae_title", "peer_address", "peer_port", "principal", "association",
        # requests
        "method", "route", "status", "duration_ms", "bytes", "media_type", "outcome", "reason", "rule",
        "dimse_status", "message_id", "action", "request_id",
        # counts, sizes and states
        "count", "size", "depth", "attempt", "attempts", "age_s", "lag_s", "limit", "state", "verdict",
        "stream", "queue", "task", "lane", "host", "port", "url", "address", "pending", "indexed", "refused",
        "duplicates", "conflicts", "quarantined", "acknowledged", "swept", "replayed", "deleted", "workers",
        "since", "until", "version", "signal", "exit_code", "dependency", "warnings", "oddities", "kind",
        "delay_s", "timeout_s", "associations", "listener", "policy", "key_id",
        # failures
        "error", "error_at", "template", "dropped_fields",
    }
)  # fmt: skip

# Libraries whose messages are about sockets and processes only.
_LIBRARIES_WITH_SAFE_TEXT = ("uvicorn.error",)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return the logger of a module; call it as ``log.info("static_event_name", field=value)``."""
    return cast("structlog.stdlib.BoundLogger", structlog.get_logger(module=name))


def configure_logs(service: str, level: str = "INFO") -> None:
    """Write JSON lines of ``service`` to standard error, those of libraries from WARNING up."""
    numeric = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _add_service(service),
            _add_trace,
            describe_exception,
            drop_unknown_fields,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.WriteLoggerFactory(file=_standard_error()),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_LibraryHandler()]
    root.setLevel(max(numeric, logging.WARNING))


def _standard_error() -> TextIO:
    # The descriptor, not sys.stderr: whoever replaces that object must not redirect our logs.
    return os.fdopen(2, "w", buffering=1, encoding="utf-8", closefd=False)


def drop_unknown_fields(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep allowed fields only, and only values that are numbers, short texts or lists of them."""
    kept: dict[str, Any] = {}
    dropped = 0
    for name, value in event.items():
        if name in ALLOWED_FIELDS and isinstance(value, str | int | float | bool | list | tuple | None):
            kept[name] = value
        else:
            dropped += 1
    if dropped:
        kept["dropped_fields"] = dropped
    return kept


def describe_exception(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Replace ``exc_info`` by the exception's type and the places it passed."""
    info = event.pop("exc_info", None)
    if info is True:
        info = sys.exc_info()
    if isinstance(info, BaseException):
        info = (type(info), info, info.__traceback__)
    if isinstance(info, tuple) and info[0] is not None:
        event["error"] = _qualified_name(info[0])
        event["error_at"] = _places(info[2])
    return event


def _qualified_name(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _places(trace_back: TracebackType | None) -> list[str]:
    frames = traceback.extract_tb(trace_back)[-8:]
    return [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames]


def _add_service(service: str) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return add


def _add_trace(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format(context.trace_id, "032x")
    return event


class _LibraryHandler(logging.Handler):
    """Turns a library's record into an event without the record's arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        safe = bool(record.args) or record.name.startswith(_LIBRARIES_WITH_SAFE_TEXT)
        template = record.msg if safe and isinstance(record.msg, str) else ""
        fields: dict[str, Any] = {
            "logger": record.name,
            "template": template[:200],
            "error_at": [f"{record.filename}:{record.lineno}"],
        }
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        structlog.get_logger().log(record.levelno, "library_message", **fields)
