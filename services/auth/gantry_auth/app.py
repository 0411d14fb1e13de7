"""The auth service as an ASGI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gantry_web.app import TemplateRoute, make_app
from starlette.applications import Starlette
from starlette.middleware import Middleware

from gantry_auth.bootstrap import Clock, now, running
from gantry_auth.entrypoints import admin, audit, browser, oauth
from gantry_auth.entrypoints.web import AnswerHeaders
from gantry_auth.settings import AuthSettings


def routes(path: str) -> list[TemplateRoute]:
    """Return every route, below the issuer's path."""
    table = (
        ("GET", "/.well-known/openid-configuration", oauth.show_metadata),
        ("GET", "/.well-known/oauth-authorization-server", oauth.show_metadata),
        ("GET", "/jwks", oauth.show_keys),
        ("GET", "/authorize", oauth.authorize),
        ("POST", "/token", oauth.token),
        ("POST", "/revoke", oauth.revoke),
        ("GET", "/userinfo", oauth.userinfo),
        ("GET", "/login", browser.show_login),
        ("POST", "/login", browser.log_in),
        ("GET", "/logout", browser.show_logout),
        ("POST", "/logout", browser.log_out),
        ("GET", "/session", browser.show_session),
        ("POST", "/session/refresh", browser.refresh),
        ("GET", "/session.js", browser.show_script),
        ("GET", "/admin/users", admin.list_users),
        ("POST", "/admin/users", admin.add_user),
        ("POST", "/admin/users/{name}/password", admin.reset_password),
        ("PUT", "/admin/users/{name}/grants", admin.set_grants),
        # Paths: somebody of another issuer has the issuer's URL in the name.
        ("POST", "/admin/users/{name:path}/revoke", admin.revoke_subject),
        ("POST", "/admin/users/{name:path}/reinstate", admin.reinstate_subject),
        ("GET", "/admin/barred", admin.list_barred),
        ("GET", "/admin/clients", admin.list_clients),
        ("POST", "/admin/clients", admin.add_client),
        ("PUT", "/admin/clients/{client_id}/grants", admin.set_grants),
        ("POST", "/admin/clients/{client_id}/revoke", admin.revoke_subject),
        ("GET", "/admin/application-entities", admin.list_entities),
        ("POST", "/admin/application-entities", admin.add_entity),
        ("DELETE", "/admin/application-entities/{title}", admin.remove_entity),
        ("GET", "/admin/audit", audit.search_records),
        ("GET", "/admin/audit/verify", audit.verify_records),
    )
    return [TemplateRoute(path + place, endpoint, methods=[method]) for method, place, endpoint in table]


def create_app(settings: AuthSettings | None = None, clock: Clock = now) -> Starlette:
    """Return the application; its parts are built when the server starts it."""
    chosen = settings or AuthSettings()
    state = {"ready": False}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with running(chosen, clock) as parts:
            app.state.parts = parts
            state["ready"] = True
            yield
            state["ready"] = False

    return make_app(
        routes(chosen.path),
        ready=lambda: state["ready"],
        lifespan=lifespan,
        middleware=[Middleware(AnswerHeaders, https=chosen.is_https)],
    )
