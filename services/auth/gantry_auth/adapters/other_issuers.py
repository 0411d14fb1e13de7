"""Keys of federated issuers, over HTTP (OpenID Connect Discovery 4, RFC 7517)."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
from gantry_dicom.errors import Unavailable

from gantry_auth.settings import FederatedIssuer, is_safe_url

# Of one wait for the network, and of a whole answer: one that drips must not hold us.
_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_MAX_BYTES = 512 << 10
_MAX_KEYS = 32
_PUBLIC_MEMBERS = ("kty", "crv", "x", "y", "n", "e", "kid", "use", "alg")


def fetch_keys(issuer: FederatedIssuer) -> str:
    """Return the issuer's public keys for signatures as a JWKS document. Raises ``Unavailable``.

    Redirects are not followed: the keys come from where the settings say, or nowhere.
    """
    with httpx.Client(timeout=_SECONDS, follow_redirects=False, trust_env=False) as client:
        uri = issuer.jwks_uri or _discover(client, issuer.issuer)
        document = _get_json(client, uri)
    listed = document.get("keys")
    keys = [_public(key) for key in listed[:_MAX_KEYS] if _signs(key)] if isinstance(listed, list) else []
    if not keys:
        raise Unavailable("the issuer has no key that could be used")
    return json.dumps({"keys": keys}, sort_keys=True)


def _discover(client: httpx.Client, issuer: str) -> str:
    document = _get_json(client, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
    if document.get("issuer") != issuer:
        raise Unavailable("the issuer calls itself something else")
    uri = document.get("jwks_uri")
    if not isinstance(uri, str) or not is_safe_url(uri):
        raise Unavailable("the issuer does not say where its keys can be had safely")
    if issuer.startswith("https://") and not uri.startswith("https://"):
        raise Unavailable("the issuer's keys are not behind https")
    return uri


def _get_json(client: httpx.Client, url: str) -> dict[str, Any]:
    deadline = time.monotonic() + _ANSWER_SECONDS
    try:
        with client.stream("GET", url, headers={"Accept": "application/json"}) as answer:
            if answer.status_code != httpx.codes.OK:
                raise Unavailable(f"the issuer answered {answer.status_code}")
            body = bytearray()
            for chunk in answer.iter_bytes():
                body += chunk
                if len(body) > _MAX_BYTES or time.monotonic() > deadline:
                    raise Unavailable("the issuer's answer is too long")
        document = json.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        raise Unavailable("the issuer does not answer as one") from error
    if not isinstance(document, dict):
        raise Unavailable("the issuer does not answer as one")
    return document


def _signs(key: object) -> bool:
    return (
        isinstance(key, dict)
        and isinstance(key.get("kid"), str)
        and bool(key["kid"])
        and key.get("use", "sig") == "sig"
        and key.get("kty") in ("EC", "OKP", "RSA")
    )


def _public(key: dict[str, Any]) -> dict[str, Any]:
    return {name: key[name] for name in _PUBLIC_MEMBERS if name in key}
