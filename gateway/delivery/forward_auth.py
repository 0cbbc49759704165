"""Answers a web server that asks, before it sends a file, whether the client may have it: 204, 401 or 403.

Must not believe a header but the two that ``GATEWAY["FORWARD_AUTH"]`` fixes, nor those without the secret that the
server and the gateway share.
Sources: https://nginx.org/en/docs/http/ngx_http_auth_request_module.html,
https://caddyserver.com/docs/caddyfile/directives/forward_auth, https://doc.traefik.io/traefik/middlewares/http/forwardauth/
"""

from __future__ import annotations

import logging
from functools import partial

from django.contrib.auth.decorators import login_not_required
from django.db import connections
from django.http import HttpRequest
from django.utils.crypto import constant_time_compare
from django.views.decorators.csrf import csrf_exempt

from gateway import links
from gateway.authentication import identify, refusals_explained
from gateway.conf import conf
from gateway.delivery.files import UNKNOWN_TYPE, content_security_policy, described
from gateway.delivery.raw_paths import named_by
from gateway.delivery.responses import AnswerToServer
from gateway.delivery.visits import is_sent_by_another_site
from gateway.delivery.x_accel import REQUEST_HEADER, request_target
from gateway.errors import AccessDenied, GatewayError, NotAuthenticated
from gateway.links import Permit, Way
from gateway.policies import DATABASE_DOWN
from gateway.principals import no_principal
from gateway.resources import Resource, private_storage
from gateway.storages.filesystem import PrivateFileSystemStorage
from providers.types import Download

__all__ = ["DISPOSITION_HEADER", "HEADERS", "POLICY_HEADER", "SECRET_HEADER", "TYPE_HEADER", "forward_auth"]

logger = logging.getLogger(__name__)

# What each server says it in: the URI as the client wrote it, and the method.
HEADERS = {
    "nginx": ("X-Original-URI", "X-Original-Method"),
    "caddy": ("X-Forwarded-Uri", "X-Forwarded-Method"),
    "traefik": ("X-Forwarded-Uri", "X-Forwarded-Method"),
}
# Whatever else claims to be one of the two, on whichever server.
_OF_THEIR_KIND = frozenset(
    {
        *("X-Original-URI", "X-Original-URL", "X-Forwarded-Uri", "X-Rewrite-URL", "X-Forwarded-Path"),
        *("X-Original-Method", "X-Forwarded-Method", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"),
    }
)
SECRET_HEADER = "X-Gateway-Secret"
DELIVERY = "forward_auth"  # in the audit
# What the server is to say about the bytes.
TYPE_HEADER = "X-Gateway-Type"
DISPOSITION_HEADER = "X-Gateway-Disposition"
POLICY_HEADER = "X-Gateway-Policy"


@csrf_exempt
@login_not_required
def forward_auth(request: HttpRequest) -> AnswerToServer:
    """Answer 204 where the client may have the file, 401 to nobody in particular, and 403 in every other case.

    Where the files are in a bucket, the 204 carries a signed request for the one that was asked for.
    """
    try:
        return AnswerToServer(request, status=204, headers=_allowed(request))
    except NotAuthenticated:
        return AnswerToServer(request, status=401, headers={"WWW-Authenticate": "Bearer"})
    except (AccessDenied, ValueError) as error:
        logger.info("refused: %s", getattr(error, "reason", "") or error)
    except (GatewayError, *DATABASE_DOWN) as error:
        logger.error("could not decide: %s", type(error).__name__)
    except Exception:
        # Servers take other statuses each in their own way; to fail is no.
        logger.exception("could not decide")
    return AnswerToServer(request, status=403, headers={})


# ATOMIC_REQUESTS would open a transaction before the view runs, which then could not answer 403 without one.
forward_auth._non_atomic_requests = set(connections)  # type: ignore[attr-defined]


def _allowed(request: HttpRequest) -> dict[str, str]:
    """Return what the server is told beside yes."""
    given = conf().forward_auth
    if not given or given["proxy"] == "apache":
        # Apache asks in its own process (gateway.delivery.apache_wsgi), and shares no secret.
        raise AccessDenied("FORWARD_AUTH names no server that asks here")
    if not constant_time_compare(request.headers.get(SECRET_HEADER, ""), given["secret"]):
        raise AccessDenied("not the server's secret")
    uri, method = _asked_for(request, given["proxy"])
    alias, key = named_by(uri, given["paths"])
    if is_sent_by_another_site(request):
        raise AccessDenied("a cross-site request that is no navigation")
    principal = identify(request)
    resource = Resource.of_key(alias, key)
    operation = partial(Download, method="HEAD" if method == "HEAD" else "GET")
    with refusals_explained(request, principal), no_principal():
        # There is no answer but this one to be replaced by a 503: a refusal's record is written before it.
        answer = links.deliver(principal, resource, operation, _way_of)
    target: dict[str, str] = {}
    if isinstance(answer, Permit):
        told = described(answer.download)
    else:
        told = {
            "Content-Type": answer.content_type or UNKNOWN_TYPE,
            "Content-Disposition": answer.content_disposition or "",
        }
        target = {REQUEST_HEADER: request_target(answer.url)}
    return target | {
        TYPE_HEADER: told["Content-Type"],
        DISPOSITION_HEADER: told.get("Content-Disposition", ""),
        POLICY_HEADER: content_security_policy(told["Content-Type"]),
    }


def _way_of(alias: str) -> Way:
    """What is in a directory, the server has; to a bucket it sends what is signed here."""
    return Way(delivery=DELIVERY, is_signed=not isinstance(private_storage(alias), PrivateFileSystemStorage))


def _asked_for(request: HttpRequest, proxy: str) -> tuple[str, str]:
    believed = HEADERS[proxy]
    for name in _OF_THEIR_KIND - set(believed):
        if name in request.headers:
            raise AccessDenied(f"{name} is not a header that {proxy} sends")
    uri, method = (request.headers.get(name, "") for name in believed)
    if request.method != "GET" or method not in ("GET", "HEAD"):
        raise AccessDenied("the method is not one of a download")
    return uri, method
