"""``{% load gateway %}``: links to private files, of which a page loses no more than the link.

Must not hide any error but a refusal: a storage that cannot sign, or nobody asking, is the page's to show.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django import template

from gateway import uploads
from gateway.errors import AccessDenied
from gateway.fields import PrivateFieldFile
from gateway.principals import current
from gateway.resources import Resource, reference_to
from providers.disposition import Disposition

__all__ = ["register"]

register = template.Library()


def _link_tag(function: Callable[..., str | None]) -> Callable[..., str | None]:
    """Register a simple tag whose None is None for ``as link``, and nothing where the tag itself is shown."""
    register.simple_tag(function)
    compile_function: Any = register.tags[function.__name__]

    def compile_link(parser: Any, token: Any) -> Any:
        node = compile_function(parser, token)
        if node.target_var is None:
            node.func = lambda *args, **kwargs: function(*args, **kwargs) or ""
        return node

    register.tag(function.__name__, compile_link)
    return function


@_link_tag
def presigned(
    file: Any, *, ttl: int | None = None, disposition: Disposition | None = None, filename: str | None = None
) -> str | None:
    """Return a presigned link for whoever is asking; None where it is refused or there is no file.

    Args:
        ttl: whole seconds.
        disposition: ``inline`` or ``attachment``.
        filename: the name that browsers save under.
    """
    if ttl is not None and type(ttl) is not int:
        raise TypeError(f"ttl is {ttl!r}; a whole number of seconds")
    if not _is_stored(file):
        return None
    lifetime = None if ttl is None else timedelta(seconds=ttl)
    try:
        link: str = file.signed_url(ttl=lifetime, disposition=disposition, filename=filename)
    except AccessDenied:
        return None
    return link


@_link_tag
def permalink(file: Any) -> str | None:
    """Return the stable link that decides when it is followed; None where there is no file, or no row yet."""
    return (file.as_shown().url or None) if _is_stored(file) else None


@register.simple_tag
def uppy_endpoint(file: Any = None) -> str:
    """Return the address that Uppy is given on a page of whoever is asking; it opens nothing to anybody else.

    Args:
        file: the value of a private field of a saved row, with or without a file; None is the service's own files.
    """
    target = ""
    if file is not None:
        if not isinstance(file, PrivateFieldFile):
            raise TypeError(f"an address was asked for a {type(file).__name__}; the value of a private file field")
        target = reference_to(Resource.of_field(file.instance, file.field.name, key=""))
    return uploads.uppy_endpoint(current(), target)


def _is_stored(file: Any) -> bool:
    """Tell whether there is a file.

    Raises:
        TypeError: it is not the value of a private field; an undefined variable is no file.
    """
    if file and not isinstance(file, PrivateFieldFile):
        raise TypeError(f"a link was asked of a {type(file).__name__}; the value of a private file field")
    return bool(file)
