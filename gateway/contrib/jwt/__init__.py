"""``Authorization: Bearer eyJ…``: JSON web tokens of issuers that the project names, for the JSON API.

Who signed a token and for whom is checked here; whose account it is, a row or the project says. Must not make
a user, and must not decide about a file.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from django.db import router
from django.http import HttpRequest

from gateway.conf import conf
from gateway.contrib.jwt.issuers import Issuer, read_issuers
from gateway.contrib.jwt.tokens import Refused, UnverifiedToken, check_claims, read_token
from gateway.errors import NotAuthenticated
from gateway.models import ApiToken, ExternalIdentity
from gateway.policies import OPERATIONS
from gateway.principals import Principal

__all__ = ["JWTAuthenticator"]

logger = logging.getLogger(__name__)

_REQUIRED = ("exp", "iat", "sub", "iss", "aud")
_ALL_OPERATIONS = sorted(operation.__name__ for operation in OPERATIONS)
# Under it version 5 names the tokens of issuers; the rows of API tokens are of version 4.
_TOKENS = uuid.UUID("6c2a4a3e-1a0f-4b7e-9d55-0b7a3a1c2f48")


class JWTAuthenticator:
    """Believes the tokens of ``GATEWAY["JWT_ISSUERS"]``; for ``GATEWAY["AUTHENTICATORS"]``.

    Raises:
        ImproperlyConfigured: when it is first asked for, and by ``manage.py check``: no issuer, or a wrong one.
    """

    reads_authorization = True

    def __init__(self) -> None:
        self._issuers = read_issuers(conf().jwt_issuers)

    def authenticate(self, request: HttpRequest) -> Principal | None:
        """Return the user that a token is of; None where the header holds none.

        Raises:
            NotAuthenticated: a token that is not believed, or is of nobody here.
            Unavailable: the keys of its issuer cannot be had.
        """
        scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
        # A token of any other form is for another authenticator to know.
        if scheme.lower() != "bearer" or text.count(".") != 2:
            return None
        try:
            token = read_token(text)
            issuer = self._issuer_of(token)
            claims = _verified(token, issuer)
            scopes = _scopes(claims, issuer)
            user = _user_of(claims, issuer)
        except (Refused, jwt.PyJWTError) as error:
            # PyJWT repeats what it was given; its classes say enough.
            reason = str(error) if isinstance(error, Refused) else type(error).__name__
            logger.info("a JSON web token was refused: %s", reason)
            raise NotAuthenticated(f"the token is refused: {reason}") from None
        ends_at = datetime.fromtimestamp(int(claims["exp"]), UTC) + timedelta(seconds=issuer.leeway_seconds)
        return Principal(
            kind="user",
            user=user,
            token=_as_api_token(token, claims, issuer, user, scopes, ends_at),
            request=request,
            authority_ends_at=ends_at,
        )

    def _issuer_of(self, token: UnverifiedToken) -> Issuer:
        """Return whose rules a token is held to. That it is of this issuer is for its signature to say."""
        name = token.claims.get("iss")
        issuer = self._issuers.get(name) if isinstance(name, str) else None
        if issuer is None:
            raise Refused("its issuer is unknown")
        return issuer


def _verified(token: UnverifiedToken, issuer: Issuer) -> dict[str, Any]:
    """Return the claims of a token that its issuer signed, for us, and for now."""
    check_claims(token.claims)
    algorithm = token.header["alg"]
    if algorithm not in issuer.algorithms:
        raise Refused(f"its algorithm is none of {', '.join(issuer.algorithms)}")
    key = issuer.keys.find(token.header.get("kid"), algorithm)
    if key is None:
        raise Refused("its key is unknown")
    claims: dict[str, Any] = jwt.decode(
        token.text,
        key,
        algorithms=[algorithm],
        audience=issuer.audience,
        issuer=issuer.name,
        leeway=issuer.leeway_seconds,
        options={"require": list(_REQUIRED)},
    )
    return claims


def _scopes(claims: dict[str, Any], issuer: Issuer) -> list[str]:
    """Return the names of the operations that a token may ask for."""
    if issuer.scopes_claim is None:
        return _ALL_OPERATIONS
    given = claims.get(issuer.scopes_claim, "")
    # A text with blanks between is how OAuth has it, a list how some issuers do.
    # https://www.rfc-editor.org/rfc/rfc8693#section-4.2
    names = given.split(" ") if isinstance(given, str) else given
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused("its scopes are neither a text nor a list of texts")
    # Scopes of other services may stand among them.
    return sorted(set(names).intersection(_ALL_OPERATIONS))


def _user_of(claims: dict[str, Any], issuer: Issuer) -> Any:
    """Return the user that an issuer means by a subject."""
    if issuer.user is not None:
        user = issuer.user(claims)
        if user is None:
            raise Refused("its subject is nobody here")
        return user
    identities: Any = ExternalIdentity.objects.using(router.db_for_write(ExternalIdentity))
    found = identities.select_related("user").filter(issuer=issuer.name, subject=claims["sub"]).first()
    # Some databases compare without case, and subjects have one.
    if found is None or (found.issuer, found.subject) != (issuer.name, claims["sub"]):
        raise Refused("its subject is nobody here")
    return found.user


def _as_api_token(
    token: UnverifiedToken, claims: dict[str, Any], issuer: Issuer, user: Any, scopes: list[str], ends_at: datetime
) -> ApiToken:
    """Say what a token is good for in the one way that the door knows: as a row, which is never saved.

    Its id is made of the issuer and ``jti``, or else of what is signed, so that audit rows name it alike.
    """
    name = token.claims.get("jti") or hashlib.sha256(token.signed.encode()).hexdigest()
    return ApiToken(
        id=uuid.uuid5(_TOKENS, f"{issuer.name} {name}"),
        user=user,
        name=issuer.name[:100],
        scopes=scopes,
        # The issuer's clock may be ahead by as much, and what was taken back must not come in again by that.
        created_at=datetime.fromtimestamp(int(claims["iat"]), UTC) - timedelta(seconds=issuer.leeway_seconds),
        expires_at=ends_at,
    )
