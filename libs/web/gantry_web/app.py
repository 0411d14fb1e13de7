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
    """A route that also takes a slash at its end, and tells metrics and logs its template."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match as ``Route`` does, whether or not the path ends in a slash, and add ``gantry.route``."""
        if scope["type"] == "http" and scope["path"].endswith("/"):
            scope = {**scope, "path": scope["path"].rstrip("/")}
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
    app = Starlette(
        routes=[*health_routes(ready), *routes],
        middleware=[Middleware(Observe), *middleware],
        exception_handlers={
            GantryError: on_gantry_error,
            HTTPException: on_http_exception,
            Exception: on_unexpected,
        },
        lifespan=lifespan,
    )
    # A redirect would name the host that the request claims, which need not be the public one.
    app.router.redirect_slashes = False
    return app
