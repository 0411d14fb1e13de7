"""The gateway as an ASGI application."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gantry_web.app import make_app
from gantry_web.crowding import AtMost
from gantry_web.lifeline import end_with_parent
from starlette.applications import Starlette
from starlette.middleware import Middleware

from gantry_gateway.bootstrap import running
from gantry_gateway.entrypoints.amendments import amendment_routes
from gantry_gateway.entrypoints.auth_proxy import auth_routes
from gantry_gateway.entrypoints.browser_rules import BrowserRules
from gantry_gateway.entrypoints.capacity import capacity_routes
from gantry_gateway.entrypoints.conflicts import conflict_routes
from gantry_gateway.entrypoints.dimse_failures import failure_routes
from gantry_gateway.entrypoints.findings import finding_routes
from gantry_gateway.entrypoints.holds import hold_routes
from gantry_gateway.entrypoints.quarantine import quarantine_routes
from gantry_gateway.entrypoints.recording import RecordAccess
from gantry_gateway.entrypoints.retention import retention_routes
from gantry_gateway.entrypoints.route_jobs import route_job_routes
from gantry_gateway.entrypoints.routes import routes
from gantry_gateway.entrypoints.viewer import viewer_routes
from gantry_gateway.settings import GatewaySettings


def create_app(settings: GatewaySettings | None = None) -> Starlette:
    """Return the application; its parts are built when the server starts it."""
    # A worker of several stops taking requests, and finishes, when the process that began it has gone.
    end_with_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    chosen = settings or GatewaySettings()
    state = {"ready": False}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with running(chosen) as parts:
            app.state.components = parts
            state["ready"] = True
            yield
            state["ready"] = False

    origins = [origin for item in chosen.cors_origins.split(",") if (origin := item.strip())]
    rules = Middleware(
        BrowserRules, origins=origins, https=chosen.public_base_url.lower().startswith("https:")
    )
    viewer = viewer_routes(chosen.viewer_folder, chosen.public_base_url, login=bool(chosen.auth_url))
    administration = [
        *(*failure_routes(), *route_job_routes(), *amendment_routes()),
        *(*hold_routes(), *retention_routes(), *capacity_routes()),
        *(*finding_routes(), *quarantine_routes(), *conflict_routes()),
    ]
    table = [*routes(), *administration, *auth_routes(chosen.auth_url), *viewer]
    return make_app(
        table,
        ready=lambda: state["ready"],
        lifespan=lifespan,
        middleware=[rules, Middleware(AtMost, requests=chosen.http_requests), Middleware(RecordAccess)],
    )
