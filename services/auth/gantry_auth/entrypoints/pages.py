"""The few pages for people: plain HTML without scripts."""

from __future__ import annotations

import base64
import hashlib
from html import escape

from starlette.responses import HTMLResponse

_STYLE = """
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; background: #11151c; color: #e8ecf2; }
main { max-width: 22rem; margin: 14vh auto 0; padding: 2rem; background: #1b212b; border-radius: .5rem; }
h1 { font-size: 1.25rem; margin: 0 0 1rem; }
label { display: block; margin: .75rem 0 .25rem; }
input { width: 100%; box-sizing: border-box; padding: .5rem; font: inherit; color: inherit;
  background: #11151c; border: 1px solid #4b5768; border-radius: .25rem; }
button { width: 100%; margin-top: 1.25rem; padding: .6rem; font: inherit; color: #fff; background: #2563c9;
  border: 0; border-radius: .25rem; cursor: pointer; }
a { color: #8ab4f8; }
:focus-visible { outline: 2px solid #8ab4f8; outline-offset: 2px; }
[role=alert] { padding: .5rem .75rem; background: #5b1f24; border-radius: .25rem; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)


def login_page(
    action: str, *, field: str, back: str, problem: str = "", name: str = "", status: int = 200
) -> HTMLResponse:
    """Return the page that asks for name and password."""
    alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    focus_name, focus_password = ("", " autofocus") if name else (" autofocus", "")
    return _page(
        "Log in",
        f"""{alert}<form method="post" action="{escape(action)}">
<input type="hidden" name="key" value="{escape(field)}">
<input type="hidden" name="next" value="{escape(back)}">
<label for="name">Name</label>
<input id="name" name="name" value="{escape(name)}" autocomplete="username" autocapitalize="none"
 spellcheck="false" maxlength="64" required{focus_name}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="256"
 required{focus_password}>
<button>Log in</button></form>""",
        status,
    )


def logout_page(action: str, *, field: str, home: str) -> HTMLResponse:
    """Return the page that asks whether to log out."""
    return _page(
        "Log out",
        f"""<form method="post" action="{escape(action)}">
<input type="hidden" name="key" value="{escape(field)}">
<button autofocus>Log out</button></form><p><a href="{escape(home)}">Stay logged in</a></p>""",
    )


def message_page(title: str, text: str, status: int = 200) -> HTMLResponse:
    """Return a page that says one thing."""
    return _page(title, f"<p>{escape(text)}</p>", status)


def onward_page(url: str) -> HTMLResponse:
    """Return a page that leads on at once.

    Not a redirect: `form-action` would hold for where it leads in the end, another site's page.
    """
    link = f'<p><a href="{escape(url)}">Go on</a></p>'
    return _page("Logged in", link, head=f'<meta http-equiv="refresh" content="0;url={escape(url)}">')


def _page(title: str, body: str, status: int = 200, head: str = "") -> HTMLResponse:
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} - Gantry</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{head}'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    return HTMLResponse(html, status, headers={"Content-Security-Policy": _POLICY})
