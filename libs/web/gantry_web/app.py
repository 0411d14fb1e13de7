"""The HTTP application factory that every service with HTTP uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gantry_dicom.errors import GantryError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Lifespan, Scope

from gantry_web.health import health_routes
from gantry_web.observe import Observe
from gantry_web.problems import on_gantry_error, on_http_exception, on_unexpected


class TemplateRoute(Route):
    """A route that leaves its template in the scope, for metrics and logs."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as ``Route`` does and add ``gantry.route``."""
        match, child = super().matches(scope)
        if match is not Match.NONE:
            child["gantry.route"] = self.path
        return match, child


def make_app(
    routes: Sequence[BaseRoute],
    *,
    ready: Callable[[], bool],
    lifespan: Lifespan[Starlette] | None = None,
    middleware: Sequence[Middleware] = (),
) -> Starlette:
    """Return an application with ``routes``, health, metrics and problem details.

    ``ready`` tells whether the process can answer; it must not ask a dependency
    (a store's blip must not become "connection refused").
    """
    return Starlette(
        routes=[*health_routes(ready), *routes],
        middleware=[Middleware(Observe), *middleware],
        exception_handlers={
            GantryError: on_gantry_error,
            HTTPException: on_http_exception,
            Exception: on_unexpected,
        },
        lifespan=lifespan,
    )
