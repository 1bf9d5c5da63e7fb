"""OAuth 2 as Dropbox does it: the offline code flow with PKCE, refresh tokens, access tokens that end."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

APP_KEY, APP_SECRET = "standin-app-key", "standin-app-secret"
SCOPES = frozenset({"account_info.read", "files.content.write", "files.metadata.read", "sharing.read", "sharing.write"})
TOKEN_SECONDS = 14_400


class TokenRefused(Exception):
    """An answer of 400 from the token endpoint; the text is the code."""


@dataclass(slots=True)
class Refresh:
    """A refresh token."""

    pkce: bool
    scopes: frozenset[str]
    revoked: bool = False


@dataclass(slots=True)
class Code:
    """A code that works once."""

    challenge: str
    scopes: frozenset[str]
    offline: bool


class SignIn:
    """All tokens of one account."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.codes: dict[str, Code] = {}
        self.refresh_tokens: dict[str, Refresh] = {}
        self.access_tokens: dict[str, tuple[float, frozenset[str], str]] = {}

    def grant(self, *, pkce: bool = False, scopes: frozenset[str] = SCOPES) -> str:
        """A refresh token, as if the flow had been walked."""
        token = f"refresh-{secrets.token_urlsafe(24)}"
        self.refresh_tokens[token] = Refresh(pkce, scopes)
        return token

    def authorize(self, query: Mapping[str, str]) -> str:
        """The user presses "Allow": a code."""
        if query.get("client_id") != APP_KEY or query.get("response_type") != "code":
            raise TokenRefused("invalid_client_id")
        if query.get("code_challenge") and query.get("code_challenge_method") != "S256":
            raise TokenRefused("invalid_request")
        code = secrets.token_urlsafe(16)
        scopes = frozenset(query["scope"].split()) if query.get("scope") else SCOPES
        self.codes[code] = Code(query.get("code_challenge", ""), scopes, query.get("token_access_type") == "offline")
        return code

    def token(self, form: Mapping[str, str]) -> dict[str, object]:
        """Answer of ``POST /oauth2/token``."""
        if form.get("client_id") != APP_KEY:
            raise TokenRefused("invalid_client")
        if "client_secret" in form and form["client_secret"] != APP_SECRET:
            raise TokenRefused("invalid_client")
        match form.get("grant_type"):
            case "authorization_code":
                return self._exchange(form)
            case "refresh_token":
                known = self.refresh_tokens.get(form.get("refresh_token", ""))
                if known is None or known.revoked:
                    raise TokenRefused("invalid_grant")
                if not known.pkce and "client_secret" not in form:
                    raise TokenRefused("invalid_client")
                return self._access(form["refresh_token"], known.scopes)
            case _:
                raise TokenRefused("unsupported_grant_type")

    def _exchange(self, form: Mapping[str, str]) -> dict[str, object]:
        code = self.codes.pop(form.get("code", ""), None)
        if code is None:
            raise TokenRefused("invalid_grant")
        if code.challenge:
            digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != code.challenge:
                raise TokenRefused("invalid_grant")
        elif "client_secret" not in form:
            raise TokenRefused("invalid_client")
        refresh = self.grant(pkce=bool(code.challenge), scopes=code.scopes) if code.offline else ""
        answer = self._access(refresh, code.scopes)
        answer |= {"uid": "1", "account_id": ACCOUNT_ID, "scope": " ".join(sorted(code.scopes))}
        return answer | ({"refresh_token": refresh} if refresh else {})

    def _access(self, refresh: str, scopes: frozenset[str]) -> dict[str, object]:
        token = f"access-{secrets.token_urlsafe(24)}"
        self.access_tokens[token] = (self._now() + TOKEN_SECONDS, scopes, refresh)
        return {"access_token": token, "expires_in": TOKEN_SECONDS, "token_type": "bearer"}

    def problem(self, token: str, scope: str) -> dict[str, object] | None:
        """Why a call with this token is refused (401); None: it is not."""
        known = self.access_tokens.get(token)
        if known is None or (known[2] and self.refresh_tokens[known[2]].revoked):
            return {".tag": "invalid_access_token"}
        if known[0] <= self._now():
            return {".tag": "expired_access_token"}
        if scope not in known[1]:
            return {".tag": "missing_scope", "required_scope": scope}
        return None


ACCOUNT_ID = "dbid:" + "A" * 35
