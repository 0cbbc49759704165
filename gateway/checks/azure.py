"""Checks of private containers of Azure: whose account they name, and who can make links for it.

Must not load the SDK: a project without Azure has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from django.core.checks import CheckMessage

from gateway.checks.messages import check, found
from gateway.checks.reading import Alias, private_aliases, split

# https://learn.microsoft.com/azure/storage/common/storage-account-overview#standard-endpoints
_AZURE_HOST = re.compile(
    r"([a-z0-9]{3,24})(?:-secondary)?(?:\.z[0-9]+)?(?:\.privatelink)?\.blob\.(?:core\.[a-z.]+|storage\.azure\.net)"
)
# https://learn.microsoft.com/azure/storage/common/storage-connect-azurite#http-connection-strings
_EMULATED = "devstoreaccount1"


@check()
def check_accounts() -> Iterator[CheckMessage]:
    for alias in _containers():
        account = getattr(alias.storage, "account_name", None)
        domain = getattr(alias.storage, "custom_domain", None)
        addresses = {
            "endpoint_url": getattr(alias.storage, "endpoint_url", None),
            "public_endpoint_url": getattr(alias.storage, "public_endpoint_url", None),
            "custom_domain": f"https://{domain}" if isinstance(domain, str) and domain else None,
        }
        for name, address in addresses.items():
            parts = split(address)
            named = None if parts is None else _AZURE_HOST.fullmatch(str(parts.hostname))
            if named is not None and named[1] != account:
                yield found("E051", f"{alias} has {name} {address!r}, and signs for the account {account!r}.")


@check(deploy=True)
def check_keys_for_deploy() -> Iterator[CheckMessage]:
    for alias in _containers():
        if getattr(alias.storage, "account_name", None) == _EMULATED:
            yield found("E053", f"{alias} has the account {_EMULATED!r}, whose key everybody knows.")
        elif getattr(alias.storage, "account_key", None):
            yield found("W052", f"{alias} signs with an account key, which opens the whole account for good.")
        options = getattr(alias.storage, "client_options", None)
        if isinstance(options, Mapping) and options.get("connection_verify") is False:
            yield found(
                "W050", f"{alias} has connection_verify switched off, so that anybody could pass for the store."
            )


def _containers() -> Iterator[Alias]:
    return (alias for alias in private_aliases() if getattr(alias.storage, "azure_container", None))
