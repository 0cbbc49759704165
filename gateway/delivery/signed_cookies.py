"""Hand out CloudFront's signed cookies: one answer opens everything below a prefix, such as a video's segments.

Must not decide or sign: both are the door's.
"""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlsplit

from django.http.response import HttpResponseBase

from gateway import links
from gateway.principals import current

__all__ = ["set_signed_cookies"]


def set_signed_cookies(
    response: HttpResponseBase, alias: str, prefix: str, *, domain: str, ttl: timedelta | None = None
) -> None:
    """Issue cookies to whoever is asking, and set them on a response, for the distribution and the prefix alone.

    Args:
        alias: of a storage with ``custom_domain`` and a CloudFront key.
        prefix: ends in a slash.
        domain: that this site and the distribution have in common, such as ``example.com``: the browser sends the
            cookies to every host below it.
        ttl: whole seconds; None is the smallest of the default and every limit.

    Raises:
        NoPrincipal: nobody is asking; and all that :func:`gateway.links.issue_cookies` raises.
    """
    cookies = links.issue_cookies(current(), alias, prefix, ttl=ttl)
    # Django would quote neither, and a browser compares the path as it is in the URL.
    path = urlsplit(cookies.resource).path.removesuffix("*")
    for name, value in cookies.values.items():
        response.set_cookie(
            name,
            value,
            expires=cookies.expires_at,
            path=path,
            domain=domain,
            secure=True,
            httponly=True,
            samesite="Lax",
        )
    # The answer holds a bearer credential, in its headers.
    response.headers["Cache-Control"] = "no-store, private"
