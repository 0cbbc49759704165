"""Keep the user delegation key that signs for an Azure account without the account's own keys.

Must not let a link outlive the key it was signed with, and must not wait longer than it says.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable
from urllib.parse import urlencode, urlsplit

from providers.azure import ACCOUNT_NAME, SAS_VERSION, SASKey, decode_key
from providers.credentials import CREDENTIAL_MARGIN
from providers.endpoints import parse_endpoint
from providers.errors import CredentialsUnavailable, InvalidConfiguration
from providers.http import NoAnswer, ask_once
from providers.instants import extended
from providers.mac import Mac
from providers.refresh import Refresher
from providers.sigv4 import encode_value
from providers.types import matches

__all__ = ["ManagedIdentity", "TokenCredential", "UserDelegation"]

# The same in every cloud: https://learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory
AUDIENCE = "https://storage.azure.com"
_MAX_LIFETIME = timedelta(days=7)
# The service counts the seven days by its own clock, and a key whose start is still to come signs nothing.
_SKEW = timedelta(minutes=15)
_FETCH_SECONDS = 10.0  # a fetch may go on when nobody waits any more; the next caller has its answer
_EPOCH = re.compile(r"[0-9]{1,12}")
_TIME = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,7})?Z"
_FIELDS = {
    "SignedOid": r"[0-9A-Za-z\-]{1,64}",
    "SignedTid": r"[0-9A-Za-z\-]{1,64}",
    "SignedStart": _TIME,
    "SignedExpiry": _TIME,
    "SignedService": r"b",
    "SignedVersion": r"\d{4}-\d{2}-\d{2}",
    "Value": r"[0-9A-Za-z+/=]{16,256}",
}
_QUERY_NAMES = ("skoid", "sktid", "skt", "ske", "sks", "skv")


@runtime_checkable
class TokenCredential(Protocol):
    """What azure-identity's credentials are like: ``get_token(scope)`` gives an object with a ``token``."""

    def get_token(self, *scopes: str, **kwargs: Any) -> Any: ...


class AccessToken(NamedTuple):
    """A token, and its end in seconds since 1970; shows no secret."""

    token: str
    expires_on: int

    def __repr__(self) -> str:
        return f"<AccessToken until {self.expires_on}>"


class ManagedIdentity:
    """Tokens of the identity that this machine runs as.

    Args:
        client_id: of a user-assigned identity; None is the only one, or the system's.
        endpoint_url: of the token endpoint: the instance metadata service, or what the platform says.
        identity_header: the secret that App Service and Container Apps hand to their applications.

    Raises:
        InvalidConfiguration: the endpoint cannot be asked.

    Source: https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
    """

    def __init__(
        self,
        *,
        client_id: str | None = None,
        endpoint_url: str = "http://169.254.169.254/metadata/identity/oauth2/token",
        identity_header: str | None = None,
    ) -> None:
        parse_endpoint(endpoint_url)
        self._client_id = client_id
        self._endpoint_url = endpoint_url
        self._identity_header = identity_header

    @classmethod
    def from_environment(
        cls, *, client_id: str | None = None, environ: Mapping[str, str] | None = None
    ) -> ManagedIdentity:
        """Find the endpoint as the platform announces it: App Service, Functions, Container Apps, or a machine.

        Source: https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
        """
        environ = os.environ if environ is None else environ
        url, header = environ.get("IDENTITY_ENDPOINT"), environ.get("IDENTITY_HEADER")
        if url and header:
            return cls(client_id=client_id, endpoint_url=url, identity_header=header)
        return cls(client_id=client_id)

    def __repr__(self) -> str:
        return f"<ManagedIdentity {self._client_id or 'of the system'}>"

    def fetch(self, *, deadline: float) -> str:
        """Return a token.

        Raises:
            CredentialsUnavailable: there was none by the deadline.
        """
        return self._ask(deadline).token

    def get_token(self, *scopes: str, **kwargs: Any) -> AccessToken:
        """Return a token for Azure Storage, as azure-identity's credentials do: the SDK can be given this one.

        Raises:
            CredentialsUnavailable: there was none in 10 seconds.
        """
        return self._ask(time.monotonic() + _FETCH_SECONDS)

    def _ask(self, deadline: float) -> AccessToken:
        asked = {"api-version": "2018-02-01", "resource": f"{AUDIENCE}/"}
        headers = {"Metadata": "true"}
        if self._identity_header is not None:
            asked["api-version"] = "2019-08-01"
            headers = {"X-IDENTITY-HEADER": self._identity_header}
        if self._client_id is not None:
            asked["client_id"] = self._client_id
        parts = urlsplit(self._endpoint_url)
        try:
            answer = ask_once(
                f"{parts.scheme}://{parts.netloc}",
                "GET",
                f"{parts.path or '/'}?{urlencode(asked)}",
                headers=headers,
                deadline=deadline,
            )
        except NoAnswer as error:
            raise CredentialsUnavailable(f"the managed identity endpoint gave no answer: {error}") from None
        if answer.status != 200:
            raise CredentialsUnavailable(f"the managed identity endpoint answered with HTTP {answer.status}")
        try:
            parsed = json.loads(answer.body)
        except ValueError:  # not UTF-8 is one too
            parsed = None
        fields = parsed if isinstance(parsed, dict) else {}
        end = str(fields.get("expires_on"))
        # Without an end it is used once.
        return AccessToken(check_token(fields.get("access_token")), int(end) if _EPOCH.fullmatch(end) else 0)


class UserDelegation:
    """Credentials of an AzureProvider: a user delegation key, fetched lazily and replaced in time.

    Whoever the token speaks for needs the role Storage Blob Delegator on the account, and on the container
    the rights that the links give.

    Args:
        account_name: the account that the key is for.
        token: a :class:`ManagedIdentity`, or any credential of azure-identity.
        endpoint_url: the account's own blob endpoint, never a custom domain; None is
            ``https://<account>.blob.core.windows.net``.
        key_lifetime: how long to ask a key for, an hour to 7 days; longer where a link needs it.
        ca_file: certificate authorities to trust for ``endpoint_url``, in PEM; None means the system's.

    Raises:
        InvalidConfiguration: one of these cannot work.

    Source: https://learn.microsoft.com/rest/api/storageservices/get-user-delegation-key
    """

    offline: ClassVar[bool] = False

    def __init__(
        self,
        *,
        account_name: str,
        token: ManagedIdentity | TokenCredential,
        endpoint_url: str | None = None,
        key_lifetime: timedelta = timedelta(days=1),
        ca_file: str | None = None,
    ) -> None:
        if not matches(ACCOUNT_NAME, account_name):
            raise InvalidConfiguration(f"account_name is {account_name!r}; 3 to 24 lower-case letters and digits")
        if not isinstance(token, ManagedIdentity | TokenCredential):
            raise InvalidConfiguration(
                f"token is of type {type(token).__name__}; a ManagedIdentity or a TokenCredential"
            )
        if not timedelta(hours=1) <= key_lifetime <= _MAX_LIFETIME:
            raise InvalidConfiguration(f"key_lifetime is {key_lifetime!r}; an hour to 7 days")
        self.account_name = account_name
        self._endpoint_url = endpoint_url or f"https://{account_name}.blob.core.windows.net"
        parse_endpoint(self._endpoint_url)
        self._token = token
        self._key_lifetime = key_lifetime
        self._ca_file = ca_file
        self._keys: Refresher[SASKey] = Refresher(
            self._fetch,
            seconds_left=_seconds_left,
            name="the user delegation key",
            useful_seconds=CREDENTIAL_MARGIN.total_seconds() + 1,
        )

    def __repr__(self) -> str:
        return f"<UserDelegation of {self.account_name}>"

    def current(self, *, now: datetime, needed: timedelta) -> SASKey:
        """Return the key to sign with, a new one where the last no longer covers ``needed``.

        Raises:
            CredentialsUnavailable: there is none, and none could be had in under a second.
        """
        return self._keys.get(now=now, needed_seconds=(needed + CREDENTIAL_MARGIN).total_seconds())

    def forget(self) -> None:
        """Drop the key, after the account's delegation keys were revoked: the next link has a new one fetched."""
        self._keys.forget()

    def _fetch(self, now: datetime, needed_seconds: float) -> SASKey:
        from email.utils import formatdate

        deadline = time.monotonic() + _FETCH_SECONDS
        if isinstance(self._token, ManagedIdentity):
            token = self._token.fetch(deadline=deadline)
        else:
            token = check_token(getattr(self._token.get_token(f"{AUDIENCE}/.default"), "token", None))
        lifetime = max(self._key_lifetime, timedelta(seconds=needed_seconds) + 2 * _SKEW)
        start, end = now - _SKEW, now + min(lifetime, _MAX_LIFETIME - _SKEW)
        question = (
            '<?xml version="1.0" encoding="utf-8"?><KeyInfo>'
            f"<Start>{extended(start)}</Start><Expiry>{extended(end)}</Expiry></KeyInfo>"
        )
        headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/xml",
            "x-ms-date": formatdate(usegmt=True),
            "x-ms-version": SAS_VERSION,
        }
        try:
            answer = ask_once(
                self._endpoint_url,
                "POST",
                "/?restype=service&comp=userdelegationkey",
                headers=headers,
                body=question.encode(),
                deadline=deadline,
                ca_file=self._ca_file,
            )
        except NoAnswer as error:
            raise CredentialsUnavailable(f"{self._endpoint_url} gave no user delegation key: {error}") from None
        if answer.status != 200:
            raise CredentialsUnavailable(
                f"{self._endpoint_url} gave no user delegation key: HTTP {answer.status}"
                f" {answer.headers.get('x-ms-error-code', '')}".rstrip()
            )
        return _parse(answer.body)


def check_token(token: object) -> str:
    """Return a token that can stand in a header.

    Raises:
        CredentialsUnavailable: it cannot.
    """
    if not isinstance(token, str) or not token or not all("!" <= character <= "~" for character in token):
        raise CredentialsUnavailable("the answer holds no access token")
    return token


def _parse(body: bytes) -> SASKey:
    """Read the answer by its few fields: whatever else XML can say is not wanted here."""
    text = body.decode("utf-8", "replace")
    values: dict[str, str] = {}
    for name, pattern in _FIELDS.items():
        found = re.findall(rf"<{name}>({pattern})</{name}>", text, re.ASCII)
        if len(found) != 1:
            raise CredentialsUnavailable(f"the user delegation key has no good {name}")
        values[name] = found[0]
    key = decode_key(values.pop("Value"))
    if key is None:
        raise CredentialsUnavailable("the user delegation key is not base64")
    fields = list(values.values())
    return SASKey(
        mac=Mac(key),
        # Three fields more belong to accounts with a hierarchical namespace, and stay empty.
        signed="".join(f"{field}\n" for field in fields) + "\n\n\n",
        query="".join(f"&{name}={encode_value(field)}" for name, field in zip(_QUERY_NAMES, fields, strict=True)),
        expires_at=datetime.fromisoformat(values["SignedExpiry"][:19]).replace(tzinfo=UTC),
    )


def _seconds_left(key: SASKey, now: datetime) -> float:
    # All of ours have an end.
    return (key.expires_at - now).total_seconds() if key.expires_at is not None else 0.0
