"""The SDK's sessions: the bytes move under the same credentials that sign the links, fetched once for both.

Must not find credentials of its own, and must not let the environment bring another account's.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import boto3
import botocore.session
from botocore.credentials import CredentialProvider, CredentialResolver, Credentials, ReadOnlyCredentials

from providers.aws_credentials import AWSCredentialChain

__all__ = ["session_of_chain", "session_of_keys"]

_NEEDED = timedelta(minutes=1)  # of a request that moves bytes: what it signs is used at once


def session_of_keys(access_key: str, secret_key: str, token: str | None) -> boto3.Session:
    """Return a session of one key pair, whatever the environment says."""
    # AWS_PROFILE would bring settings of another account, or an error where there is no such profile.
    session = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    return boto3.Session(
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token,
        botocore_session=session,
    )


def session_of_chain(chain: AWSCredentialChain, *, profile: str | None) -> boto3.Session:
    """Return a session that asks our chain for every request, so that a role is fetched once and never twice."""
    session = botocore.session.Session(profile=profile)
    session.register_component("credential_provider", CredentialResolver([_Ours(chain)]))
    return boto3.Session(botocore_session=session)


class _Ours(CredentialProvider):  # type: ignore[misc]
    METHOD = "presign-gateway"

    def __init__(self, chain: AWSCredentialChain) -> None:
        super().__init__()
        self._chain = chain

    def load(self) -> Credentials:
        return _Current(self._chain)


class _Current(Credentials):  # type: ignore[misc]
    """Whatever the chain has now; botocore asks for it when it signs."""

    def __init__(self, chain: AWSCredentialChain) -> None:
        super().__init__("", "", method=_Ours.METHOD)
        self._chain = chain

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        pair = self._chain.current(now=datetime.now(UTC), needed=_NEEDED)
        return ReadOnlyCredentials(pair.access_key_id, pair.secret_access_key, pair.session_token)
