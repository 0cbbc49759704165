"""Checks of where objects are: directories, buckets and endpoints, and who else may reach them there.

Must not resolve a name: addresses are judged as they are written.
"""

from __future__ import annotations

import re
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult

from django.conf import settings
from django.core.checks import CheckMessage
from django.core.files.storage import FileSystemStorage

from gateway.checks.messages import check, found
from gateway.checks.reading import Alias, aliases, directory_of, items_of, local_aliases, private_aliases, split

__all__ = ["Place", "is_loopback", "place_of"]

# Where clouds tell a machine its credentials, beside the link-local 169.254.169.254.
_METADATA_NAMES = frozenset({"instance-data", "metadata", "metadata.azure.internal", "metadata.google.internal"})
_METADATA_ADDRESSES = frozenset(map(ip_address, ("fd00:ec2::254", "168.63.129.16", "100.100.100.200")))
_INTERNAL_SUFFIXES = (".internal", ".lan", ".local", ".svc")
# https://docs.aws.amazon.com/general/latest/gr/s3.html
_AWS_HOST = re.compile(
    r"(?:.+\.)?s3[.\-](?:fips\.)?(?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-[0-9]+)\.amazonaws\.com(?:\.cn)?"
)
# django-storages' classes: how their buckets are written here, and what their options are called as settings.
_PUBLIC_BACKENDS = {
    ("storages.backends.s3", "S3Storage"): (
        "s3",
        {
            "endpoint_url": "AWS_S3_ENDPOINT_URL",
            "bucket_name": "AWS_STORAGE_BUCKET_NAME",
            "location": "AWS_LOCATION",
        },
    ),
    ("storages.backends.gcloud", "GoogleCloudStorage"): (
        "gs",
        {"bucket_name": "GS_BUCKET_NAME", "location": "GS_LOCATION"},
    ),
    ("storages.backends.azure_storage", "AzureStorage"): (
        "azure",
        {
            "account_name": "AZURE_ACCOUNT_NAME",
            "azure_container": "AZURE_CONTAINER",
            "location": "AZURE_LOCATION",
        },
    ),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where objects are.

    Attributes:
        store: endpoint and bucket; empty for the local disk.
        start: directory, or start of keys; empty, or with a slash at its end.
    """

    store: str
    start: str

    def __str__(self) -> str:
        return f"{self.store}/{self.start}" if self.store else self.start

    def overlaps(self, other: Place) -> bool:
        return self.store == other.store and (self.start.startswith(other.start) or other.start.startswith(self.start))


@check()
def check_places() -> Iterator[CheckMessage]:
    private = [(alias, place) for alias in private_aliases() if (place := place_of(alias.storage)) is not None]
    for number, (alias, place) in enumerate(private):
        for other, its_place in private[:number]:
            if place.overlaps(its_place):
                yield found("W040", f"{other} is in {its_place}, and {alias} in {place}.")
    for public in aliases():
        its_bucket = None if public.is_private else _public_bucket(public)
        for alias, place in private:
            if its_bucket is not None and its_bucket.overlaps(place):
                yield found("W041", f"{alias} is in {place}, and {public}, which is not private, in {its_bucket}.")


def place_of(storage: Any) -> Place | None:
    """Return where a built storage keeps its objects; None where its options do not tell."""
    if isinstance(storage, FileSystemStorage):
        directory = _root_of(storage)
        return None if directory is None else Place("", f"{directory}/")
    if getattr(storage, "azure_container", None):
        return _bucket("azure", storage.account_url, storage.azure_container, storage.location)
    names = ("endpoint_url", "bucket_name", "location")
    scheme = "gs" if hasattr(storage, "iam_sign_blob") else "s3"
    return _bucket(scheme, *(getattr(storage, name, None) for name in names))


def _bucket(scheme: str, endpoint_url: Any, bucket: Any, location: Any) -> Place | None:
    if not bucket:
        return None
    store = f"{str(endpoint_url).rstrip('/')}/{bucket}" if endpoint_url else f"{scheme}://{bucket}"
    start = str(location or "").strip("/")
    return Place(store, f"{start}/" if start else "")


def _public_bucket(alias: Alias) -> Place | None:
    """Read where django-storages' own storages are, without building them."""
    for base in alias.backend.__mro__ if isinstance(alias.backend, type) else ():
        if (known := _PUBLIC_BACKENDS.get((base.__module__, base.__name__))) is not None:
            scheme, names = known
            values = {name: alias.options.get(name, getattr(settings, names[name], None)) for name in names}
            if scheme == "azure" and values["account_name"]:
                account_url = f"https://{values['account_name']}.blob.core.windows.net"
                return _bucket(scheme, account_url, values["azure_container"], values["location"])
            return _bucket(scheme, *(values.get(name) for name in ("endpoint_url", "bucket_name", "location")))
    return None


@check()
def check_directories() -> Iterator[CheckMessage]:
    public = [(name, other) for name, path in _public_paths() if (other := directory_of(path)) is not None]
    for alias in local_aliases():
        directory = _root_of(alias.storage)
        if directory is None:
            continue
        for name, other in public:
            if directory == other or directory in other.parents or other in directory.parents:
                yield found("E042", f"{alias} is in {directory}, and {name} in {other}.")
        if (mode := _mode_of(directory)) is not None and mode & stat.S_IRWXO:
            yield found("W043", f"{alias} is in {directory}, whose mode is {mode:#o}; nothing for others.")
        for name in ("file_permissions_mode", "directory_permissions_mode"):
            if isinstance(mode := alias.options.get(name), int) and mode & stat.S_IRWXO:
                yield found("W043", f"{alias} has {name} {mode:#o}; nothing for others.")
        given = alias.options.get("location")
        if isinstance(given, (str, Path)) and not Path(given).is_absolute():
            yield found("W044", f"{alias} has the location {str(given)!r}, which is relative.")


def _public_paths() -> Iterator[tuple[str, Any]]:
    for name in ("MEDIA_ROOT", "STATIC_ROOT"):
        yield name, getattr(settings, name, None)
    for one in items_of("STATICFILES_DIRS"):
        # A directory, or a prefix with one.
        yield "STATICFILES_DIRS", one[1] if isinstance(one, (list, tuple)) and len(one) == 2 else one
    for alias in aliases():
        is_local = isinstance(alias.backend, type) and issubclass(alias.backend, FileSystemStorage)
        if is_local and not alias.is_private:
            yield str(alias), alias.options.get("location")


def _root_of(storage: Any) -> Path | None:
    try:
        return directory_of(storage.location)
    except (TypeError, ValueError):
        return None  # no path at all


def _mode_of(directory: Path) -> int | None:
    try:
        return stat.S_IMODE(directory.stat().st_mode)
    except OSError:
        return None  # not there yet: the storage makes it, for its owner alone


@check()
def check_endpoints() -> Iterator[CheckMessage]:
    for alias, said, parts in _endpoints():
        bucket = getattr(alias.storage, "bucket_name", None) or getattr(alias.storage, "azure_container", None)
        # A host of the bucket's own may well be called after it.
        is_shared = parts.geturl() != getattr(alias.storage, "custom_endpoint", None)
        if bucket and is_shared and (str(parts.hostname).startswith(f"{bucket}.") or parts.path.strip("/") == bucket):
            yield found("W047", f"{said}, which holds the bucket {bucket!r} already.")
        named = _AWS_HOST.fullmatch(str(parts.hostname))
        region = getattr(alias.storage, "region_name", None)
        if named is not None and region != named[1]:
            yield found("E048", f"{said}, and signs for the region {region!r}.")


@check(deploy=True)
def check_endpoints_for_deploy() -> Iterator[CheckMessage]:
    for alias, said, parts in (*_endpoints(), *_distributions()):
        host = str(parts.hostname)
        if parts.scheme != "https" and not settings.DEBUG:
            yield found("E045", f"{said}; https.")
        if _is_own_machine(host):
            yield found("E046", f"{said}; no loopback, link-local or metadata address.")
        elif _is_internal(host) and not _public_address(alias.storage):
            yield found("W049", f"{said}, which browsers elsewhere cannot reach.")
    for alias in private_aliases():
        if getattr(alias.storage, "verify", None) is False:
            yield found("W050", f"{alias} has verify switched off, so that anybody could pass for the store.")


def _endpoints() -> Iterator[tuple[Alias, str, SplitResult]]:
    for alias in private_aliases():
        for name in ("endpoint_url", "public_endpoint_url", "custom_endpoint"):
            parts = split(getattr(alias.storage, name, None))
            if parts is not None:
                yield alias, f"{alias} has {name} {parts.geturl()!r}", parts


def _public_address(storage: Any) -> Any:
    names = ("public_endpoint_url", "custom_endpoint", "custom_domain")
    return next((address for name in names if (address := getattr(storage, name, None))), None)


def _distributions() -> Iterator[tuple[Alias, str, SplitResult]]:
    for alias in private_aliases():
        parts = split(getattr(alias.storage, "cloudfront_url", None))
        if parts is not None:
            yield alias, f"{alias} has custom_domain {parts.geturl()!r}", parts


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine, by its name or by any spelling of its address."""
    name, address = host.rstrip(".").lower(), _address(host)
    return name == "localhost" or name.endswith(".localhost") or (address is not None and address.is_loopback)


def _is_own_machine(host: str) -> bool:
    address = _address(host)
    if address is None:
        return is_loopback(host) or host.rstrip(".").lower() in _METADATA_NAMES
    return address.is_loopback or address.is_link_local or address.is_unspecified or address in _METADATA_ADDRESSES


def _is_internal(host: str) -> bool:
    name, address = host.rstrip(".").lower(), _address(host)
    return address.is_private if address is not None else "." not in name or name.endswith(_INTERNAL_SUFFIXES)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Read an address in every spelling that resolvers take: 127.1, 0x7f000001, ::ffff:127.0.0.1."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        try:
            address = ip_address(socket.inet_aton(host))  # reads text; asks nobody
        except (OSError, ValueError):
            return None
    return getattr(address, "ipv4_mapped", None) or address
