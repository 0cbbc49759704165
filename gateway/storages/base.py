"""What all private storages share: our options, keys that are refused or minted, and links through the door.

Must not sign, and must not ask a store whether a name is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from email.message import Message
from email.utils import collapse_rfc2231_value
from functools import partial
from os import PathLike
from types import UnionType
from typing import Any, ClassVar, Literal, cast

from django.core.exceptions import ImproperlyConfigured

from gateway import links
from gateway.errors import InvalidRequest
from gateway.resources import Resource, alias_of
from gateway.storages import StorageByAlias
from gateway.storages.minting import MintedName, mint, safe_name
from providers.disposition import Disposition
from providers.keys import check_key
from providers.types import Download, Provider

__all__ = [
    "CLOUD_OPTION_TYPES",
    "INLINE_TYPES",
    "PrivateStorageMixin",
    "exact",
    "exact_directory",
    "given_parameters",
    "seconds",
]

# What browsers show without running it. SVG, HTML and XML can hold scripts and are not among them.
INLINE_TYPES = frozenset(
    {
        "application/pdf",
        "audio/aac",
        "audio/flac",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "audio/webm",
        "image/avif",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/plain",
        "video/mp4",
        "video/ogg",
        "video/webm",
    }
)
# Of django-storages' options, those that would fail far from the setting, or mean something else, were they of
# another type: the text "false" is true.
CLOUD_OPTION_TYPES: Mapping[str, tuple[type | UnionType, str]] = {
    "blob_chunk_size": (int | None, "a whole number of bytes"),
    "connection_string": (str | None, "text"),
    "custom_domain": (str | None, "text"),
    "custom_endpoint": (str | None, "text"),
    "default_acl": (str | None, "text"),
    "endpoint_suffix": (str, "text"),
    "file_overwrite": (bool, "True or False"),
    "location": (str, "text"),
    "object_parameters": (Mapping, "a mapping"),
    "overwrite_files": (bool, "True or False"),
}
_MEDIA_TYPE = re.compile(r"[a-z0-9.+\-]+/[a-z0-9.+\-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_URL_PARAMETERS = ("ResponseContentDisposition", "ResponseContentType", "VersionId")


class PrivateStorageMixin:
    """Options of private storages, beside those of the backend.

    Args:
        alias: the key of ``STORAGES``, for a storage that is not registered there.
        url_mode: ``presigned`` or ``permalink``, what a file field's ``.url`` is.
        default_ttl: seconds, in place of ``GATEWAY["DEFAULT_TTL"]``.
        max_ttl: seconds; may only lower ``GATEWAY["MAX_TTL"]``.
        inline_types: media types that may be shown in the browser; every other one is a download.
        on_short_credentials: ``clamp`` shortens a link to the end of its credential, ``refuse`` issues none.
        url_window: seconds for which the same download has the same URL, so that browsers can cache it; at most
            half the lifetime of the storage's links.
        delivery: what a permalink does: ``redirect`` to a link, ``stream`` the bytes, or hand them over to the web
            server in front by ``x_accel`` (nginx) or, from a directory, ``x_sendfile`` (Apache), ``x_lighttpd`` or
            ``secure_link`` (nginx).

    Raises:
        ImproperlyConfigured: a value is out of bounds.
    """

    # Where each link is asked about when it is used, one that was taken back has ended.
    links_end_at_once: ClassVar[bool] = False
    own_options: ClassVar[tuple[str, ...]] = (
        "alias",
        "url_mode",
        "default_ttl",
        "max_ttl",
        "inline_types",
        "on_short_credentials",
        "url_window",
        "delivery",
    )
    deliveries: ClassVar[tuple[str, ...]] = ("redirect", "stream", "x_accel")
    option_types: ClassVar[Mapping[str, tuple[type | UnionType, str]]] = {}

    def __init__(self, **options: Any) -> None:
        own = {name: options.pop(name) for name in self.own_options if name in options}
        self.alias: str | None = own.pop("alias", None)
        if self.alias is not None and not (isinstance(self.alias, str) and self.alias):
            raise ImproperlyConfigured(f"alias is {self.alias!r}; a key of STORAGES")
        self.url_mode = _one_of("url_mode", own.pop("url_mode", "presigned"), ("presigned", "permalink"))
        self.default_ttl = seconds("default_ttl", own.pop("default_ttl", None))
        self.max_ttl = seconds("max_ttl", own.pop("max_ttl", None))
        self.on_short_credentials = _one_of(
            "on_short_credentials", own.pop("on_short_credentials", "clamp"), ("clamp", "refuse")
        )
        self.url_window = seconds("url_window", own.pop("url_window", None))
        self.delivery = _one_of("delivery", own.pop("delivery", "redirect"), self.deliveries)
        self.inline_types = _media_types(own.pop("inline_types", INLINE_TYPES))
        self._check_types(options)
        super().__init__(**options)
        self._check_types(vars(self))  # what global settings say
        self.configure(own)

    def _check_types(self, options: Mapping[str, Any]) -> None:
        # Without the value: a connection string holds a key.
        for name, (kind, bound) in self.option_types.items():
            if name in options and not isinstance(options[name], kind):
                raise ImproperlyConfigured(f"{name} is of type {type(options[name]).__name__}; {bound}")

    def configure(self, own: dict[str, Any]) -> None:
        """Check what the backend was given; ``own`` holds the options that only this storage adds."""

    @property
    def provider(self) -> Provider:
        """The signer of this storage's bucket."""
        raise TypeError(f"{type(self).__name__} has no provider")

    def provider_for(self, kind: type) -> Provider:
        """Return what signs operations of a class; one provider for all, unless a storage says otherwise."""
        return self.provider

    def ends_at_once(self, kind: type) -> bool:
        """Tell whether a link of a class is asked about when it is used, so that taking it back ends it."""
        return self.links_end_at_once

    def deconstruct(self) -> tuple[str, list[Any], dict[str, Any]]:
        # A migration holds the alias alone: no option, and so no credential.
        return "gateway.storages.StorageByAlias", [alias_of(self)], {}

    def __reduce__(self) -> tuple[Any, ...]:
        # Nor a pickle: a task's arguments lie in a broker.
        return StorageByAlias, (alias_of(self),)

    # Names. The backends normalise; a permission checked on one spelling must not move another.

    def object_key(self, name: str) -> str:
        """Return the key in the bucket of a name in the database.

        Raises:
            InvalidKey: the name breaks the grammar.
        """
        location = str(getattr(self, "location", "")).strip("/")
        name = exact(name)
        return check_key(f"{location}/{name}") if location else name

    def get_valid_name(self, name: str) -> str:
        return safe_name(name)

    def generate_filename(self, filename: str | PathLike[str]) -> str:
        """Clean the last segment, which is the uploader's; refuse directories, which are the server's."""
        directory, slash, name = str(filename).rpartition("/")
        key = check_key(f"{directory}{slash}{self.get_valid_name(name)}")
        return MintedName(key) if isinstance(filename, MintedName) else key

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return mint(name, max_length)

    def url(
        self,
        name: str | None,
        parameters: dict[str, Any] | None = None,
        expire: int | None = None,
        http_method: str | None = None,
    ) -> str:
        """Issue a link for a bare name, which ``GATEWAY["PATH_POLICIES"]`` must have a policy for.

        Args:
            name: as the database has it.
            parameters: ``ResponseContentDisposition``, ``ResponseContentType``, ``VersionId``.
            expire: seconds.
            http_method: ``GET`` or ``HEAD``.

        Raises:
            AccessDenied, NoPrincipal, TTLTooLong: as :func:`gateway.links.issue`.
            InvalidRequest: a parameter or method that cannot keep its meaning.
        """
        resource = Resource.of_key(alias_of(self), exact(name))
        ttl = None if expire is None else seconds("expire", expire, error=InvalidRequest)
        return links.issue_once(resource, _download(given_parameters(parameters), http_method), ttl=ttl).text

    # Every door into the backend, since it would look up another name than the one it was given.

    def open(self, name: str, mode: str = "rb") -> Any:
        return super().open(exact(name), mode)  # type: ignore[misc]

    def delete(self, name: str) -> None:
        super().delete(exact(name))  # type: ignore[misc]

    def exists(self, name: str) -> bool:
        return bool(super().exists(exact(name)))  # type: ignore[misc]

    def size(self, name: str) -> int:
        return int(super().size(exact(name)))  # type: ignore[misc]

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        listed: tuple[list[str], list[str]] = super().listdir(exact_directory(path))  # type: ignore[misc]
        return listed

    def get_modified_time(self, name: str) -> Any:
        return super().get_modified_time(exact(name))  # type: ignore[misc]


def seconds(name: str, value: Any, *, error: type[Exception] = ImproperlyConfigured) -> timedelta | None:
    """Return an option in whole seconds, 1 to 604800, as a duration; None stays None."""
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= 604_800:
        raise error(f"{name} is {value!r}; a whole number of seconds from 1 to 604800")
    return timedelta(seconds=value)


def exact(name: Any) -> str:
    """Check a name as it is; a subclass of str, such as a template's safe text, counts by its characters."""
    return check_key(str.__str__(name) if isinstance(name, str) else name)


def exact_directory(path: Any) -> str:
    """Check the path of a listing: empty for the root, else a name, with one slash after it at most."""
    return exact(path.removesuffix("/") if isinstance(path, str) else path) if path else ""


def given_parameters(parameters: Any) -> dict[str, Any]:
    """Return a copy of the parameters of a URL; None is none.

    Raises:
        InvalidRequest: they are no mapping.
    """
    if parameters is not None and not isinstance(parameters, Mapping):
        raise InvalidRequest(f"parameters are of type {type(parameters).__name__}; a mapping")
    return dict(parameters or {})


def _download(parameters: dict[str, Any], http_method: str | None) -> Any:
    """Read django-storages' URL parameters as a Download, or refuse what would lose its meaning."""
    if unknown := set(parameters) - set(_URL_PARAMETERS):
        raise InvalidRequest(f"parameters hold {sorted(unknown, key=str)}; only {', '.join(_URL_PARAMETERS)}")
    if http_method not in (None, "GET", "HEAD"):
        raise InvalidRequest(f"http_method is {http_method!r}; GET or HEAD, uploads are signed elsewhere")
    disposition, filename = _parsed_disposition(parameters.get("ResponseContentDisposition"))
    return partial(
        Download,
        method=cast("Literal['GET', 'HEAD']", http_method or "GET"),
        disposition=disposition,
        filename=filename,
        content_type=parameters.get("ResponseContentType"),
        version=parameters.get("VersionId"),
    )


def _parsed_disposition(header: Any) -> tuple[Disposition | None, str | None]:
    if header is None:
        return None, None
    message = Message()
    if isinstance(header, str) and not _CONTROL.search(header):
        message["Content-Disposition"] = header
    disposition = message.get_content_disposition()
    parameters = (message.get_params([], "Content-Disposition") or [])[1:]
    others = {name.lower() for name, _ in parameters} - {"filename", ""}
    if disposition not in ("inline", "attachment") or others:
        raise InvalidRequest(f"ResponseContentDisposition is {header!r}; inline or attachment, with a file name")
    # filename* comes as a tuple, and goes before filename: https://www.rfc-editor.org/rfc/rfc6266#section-4.3
    values = sorted((value for name, value in parameters if name), key=lambda value: isinstance(value, str))
    return cast("Disposition", disposition), collapse_rfc2231_value(values[0]) if values else None


def _one_of(name: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ImproperlyConfigured(f"{name} is {value!r}; one of {', '.join(choices)}")
    return str(value)


def _media_types(value: Any) -> frozenset[str]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise ImproperlyConfigured(f"inline_types is {value!r}; a list of media types")
    types = list(value)
    for media_type in types:
        if not isinstance(media_type, str) or not _MEDIA_TYPE.fullmatch(media_type):
            raise ImproperlyConfigured(f"inline_types holds {media_type!r}; lower-case type/subtype")
    return frozenset(types)
