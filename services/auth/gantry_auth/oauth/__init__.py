"""OAuth 2.0 and OpenID Connect: our rules in the frame of Authlib's server."""
