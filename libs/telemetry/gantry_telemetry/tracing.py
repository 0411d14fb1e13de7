"""OpenTelemetry traces: one trace from an association to the first frame that is served.

Without an endpoint nothing is recorded and a span costs next to nothing, but a trace that
a caller began is still passed on. A trace that begins here is recorded by its
share of all; what a caller decided about its own trace holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TypeAlias

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()

Attribute: TypeAlias = str | int | float | bool


def configure_tracing(service: str, endpoint: str | None, share: float = 1.0) -> None:
    """Send spans of ``service`` to an OTLP/HTTP ``endpoint``; ``None`` records nothing.

    ``share`` is the part of traces begun here that are recorded, from 0 to 1.
    Raises ``ValueError`` for a share that is none.
    """
    if endpoint is None:
        return
    provider = TracerProvider(
        resource=Resource.create({"service.name": service}), sampler=ParentBasedTraceIdRatio(share)
    )
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=2)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=500))
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: Attribute) -> Iterator[Span]:
    """Record a span around the block, a child of the current one."""
    with _tracer().start_as_current_span(
        name, kind=kind, attributes=attributes, record_exception=False
    ) as current:
        yield current


class LongSpan:
    """A span that is open over many callbacks, such as an association; end it once."""

    def __init__(self, name: str, kind: SpanKind = SpanKind.INTERNAL, **attributes: Attribute) -> None:
        self._span = _tracer().start_span(
            name, kind=kind, attributes=attributes, record_exception=False, context=context.Context()
        )

    @contextmanager
    def current(self) -> Iterator[None]:
        """Make it the parent of the spans within the block."""
        with trace.use_span(self._span, end_on_exit=False, record_exception=False):
            yield

    def end(self, **attributes: Attribute) -> None:
        """End it, with what is known at its end."""
        self._span.set_attributes(attributes)
        self._span.end()


@contextmanager
def continue_trace(traceparent: str) -> Iterator[None]:
    """Make the W3C ``traceparent`` the current context in the block; empty changes nothing."""
    if not traceparent:
        yield
        return
    token = context.attach(_PROPAGATOR.extract({"traceparent": traceparent}))
    try:
        yield
    finally:
        context.detach(token)


@contextmanager
def span_in_each(
    traceparents: Iterable[str], name: str, kind: SpanKind, **attributes: Attribute
) -> Iterator[None]:
    """Record the block as a span of each trace among ``traceparents``: work that many asked for."""
    traces = {parent.split("-")[1]: parent for parent in traceparents if is_sampled(parent)}
    with ExitStack() as stack:
        for traceparent in traces.values():
            stack.enter_context(continue_trace(traceparent))
            stack.enter_context(span(name, kind, **attributes))
        yield


def mark_in_trace(traceparent: str, name: str, **attributes: Attribute) -> None:
    """Record a moment in another trace, linked with the current span: where two traces meet."""
    here = trace.get_current_span().get_span_context()
    links = [Link(here)] if here.is_valid else []
    with continue_trace(traceparent):
        _tracer().start_span(name, attributes=attributes, links=links).end()


def current_traceparent() -> str:
    """Return the current context as a W3C ``traceparent``, or an empty string."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent", "")


def sampled_trace_id() -> str:
    """Return the id of the current trace if it is recorded, or an empty string."""
    here = trace.get_current_span().get_span_context()
    return format(here.trace_id, "032x") if here.trace_flags.sampled and here.is_valid else ""


def is_sampled(traceparent: str) -> bool:
    """Whether a ``traceparent`` says that its trace is recorded (W3C Trace Context, trace-flags)."""
    return (
        trace.get_current_span(_PROPAGATOR.extract({"traceparent": traceparent}))
        .get_span_context()
        .trace_flags.sampled
    )


def flush_traces() -> None:
    """Send what is recorded; for the end of a process."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.force_flush(2000)


@cache
def _tracer() -> trace.Tracer:
    # Looked up once: it finds the provider that is configured later by itself, and each look-up reads
    # the environment (3.5 % of the gateway's time for a report that is stored).
    return trace.get_tracer("gantry")
