"""Checks of how bytes are to be delivered: what would refuse every file, said before the first is asked for.

Must not ask a server in front.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.core.checks import CheckMessage

from gateway.checks.messages import check, found
from gateway.checks.reading import aliases, conf_or_none, private_aliases

__all__: list[str] = []


@check()
def check_forward_auth() -> Iterator[CheckMessage]:
    given = conf_or_none()
    if given is None or not given.forward_auth:
        return
    by_name = {alias.name: alias for alias in aliases()}
    for prefix, name in given.forward_auth["paths"].items():
        subject = f"GATEWAY['FORWARD_AUTH'] has {name!r} behind {prefix!r}"
        if name not in by_name:
            yield found("E090", f"{subject}, which STORAGES has not.")
        elif by_name[name].error is None and not by_name[name].is_private:
            yield found("E090", f"{subject}, which is not a private storage.")
        elif name not in given.path_policies:
            yield found("E091", f"{subject}, and GATEWAY['PATH_POLICIES'] has no policy for it.")


@check()
def check_addresses() -> Iterator[CheckMessage]:
    given = conf_or_none()
    if given is None or given.trusted_proxies:
        return
    for alias in private_aliases():
        if getattr(alias.storage, "delivery", "") == "secure_link_address":
            yield found("E092", f"{alias} binds links to addresses, and GATEWAY['TRUSTED_PROXIES'] is 0.")
