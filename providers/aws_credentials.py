"""Take AWS credentials from wherever boto3 would, and keep them fresh: profiles, roles, containers, machines.

Must not import boto3 or botocore before a credential is asked for, and must not wait longer than it says.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from providers.credentials import CREDENTIAL_MARGIN, StaticCredentials
from providers.errors import CredentialsUnavailable, InvalidConfiguration
from providers.refresh import Refresher
from providers.types import matches

__all__ = ["AWSCredentialChain"]

_ENDLESS_SECONDS = float("inf")
_NOT_BLANK = re.compile(r"\S(?:.*\S)?")


class AWSCredentialChain:
    """Credentials of an S3Provider, found by botocore's own chain at the first use.

    Environment, shared files and profiles, assumed roles, web identity, SSO, ``credential_process``, container
    and instance roles. Temporary ones are fetched anew, by one thread, before they no longer cover the links
    asked for; where that fails they go on being used while they live, and the links end before they do.

    Args:
        profile: of the shared files; None is what the environment says.

    Raises:
        InvalidConfiguration: the profile is no name.

    Source: https://boto3.amazonaws.com/v1/documentation/api/latest/guide/credentials.html
    """

    offline: ClassVar[bool] = False

    def __init__(self, profile: str | None = None) -> None:
        if profile is not None and not matches(_NOT_BLANK, profile):
            raise InvalidConfiguration(f"profile is {profile!r}; the name of one, or None")
        self._profile = profile
        self._credentials: Refresher[StaticCredentials] = Refresher(
            lambda now, needed_seconds: self._fetch(),
            seconds_left=_seconds_left,
            name="an AWS credential",
            useful_seconds=CREDENTIAL_MARGIN.total_seconds() + 1,
        )

    def __repr__(self) -> str:
        return f"<AWSCredentialChain {self._profile or 'of the environment'}>"

    def current(self, *, now: datetime, needed: timedelta) -> StaticCredentials:
        """Return the key pair to sign with, a new one where the last no longer covers ``needed``.

        Raises:
            CredentialsUnavailable: there is none, and none could be had in under a second.
        """
        return self._credentials.get(now=now, needed_seconds=(needed + CREDENTIAL_MARGIN).total_seconds())

    def forget(self) -> None:
        """Drop the key pair, after it was revoked: the next link has a new one fetched."""
        self._credentials.forget()

    def _fetch(self) -> StaticCredentials:
        """Ask a new session each time: an old one keeps what it has, and raises near the end of it."""
        import botocore.session

        session = botocore.session.Session(profile=self._profile)
        _trust_the_machine(session)
        credentials = session.get_credentials()
        if credentials is None:
            raise CredentialsUnavailable("an AWS credential could not be had: boto3's chain found none")
        # Where they are a moment old, asking in public would fetch them again near their end.
        pair = getattr(credentials, "_frozen_credentials", None) or credentials.get_frozen_credentials()
        # botocore has no public name for the end, and nothing else knows it.
        expires_at = getattr(credentials, "_expiry_time", None)
        return StaticCredentials(
            pair.access_key,
            pair.secret_key,
            pair.token,
            expires_at.astimezone(UTC) if isinstance(expires_at, datetime) else None,
        )


def _trust_the_machine(session: Any) -> None:
    """Keep botocore from moving the end of an instance role's credentials: links would outlive them.

    Near their end it adds ten minutes or more to what the machine said, so that its own requests go on trying.
    """
    role = session.get_component("credential_provider").get_provider("iam-role")
    role._role_fetcher._evaluate_expiration = lambda credentials: None


def _seconds_left(credentials: StaticCredentials, now: datetime) -> float:
    if credentials.expires_at is None:
        return _ENDLESS_SECONDS
    return (credentials.expires_at - now).total_seconds()
