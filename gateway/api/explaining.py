"""``GET /files/{id}/explain``: why somebody may have a file or not, for staff.

Must not make a link, and must look like a missing file to everybody else.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.db import router as databases
from django.http import HttpRequest, HttpResponse
from ninja import Router

from gateway.api.document import problems, query
from gateway.api.files import file_pk
from gateway.api.identity import principal_of
from gateway.api.parsing import read_query
from gateway.api.problems import answer
from gateway.api.schemas import ExplanationInfo, ExplanationQuery
from gateway.errors import AccessDenied, InvalidRequest
from gateway.explanations import Explanation, explain
from gateway.models import File
from gateway.principals import Principal
from gateway.resources import Resource

__all__ = ["router"]

router = Router(tags=["files"])


@router.get(
    "/files/{file_id}/explain",
    url_name="explain_file",
    operation_id="explain_file",
    summary="Explain a decision",
    response={200: ExplanationInfo} | problems(400, 401, 404, 429, 500, 503),
    openapi_extra=query(ExplanationQuery),
)
def explain_file(request: HttpRequest, file_id: str) -> HttpResponse:
    """Say what would be answered, to oneself or to another user, and why. No link is made.

    For staff with a session: what a token may ask for is named by its scopes, and this is none of them.
    """
    asked = read_query(request, ExplanationQuery)
    pk = file_pk(file_id)
    asker = principal_of(request)
    if asker.token is not None or asker.kind != "user" or not asker.user.is_staff:
        raise AccessDenied("explanations are for staff with a session")
    resource = Resource(storage_alias="", key=None, model=File, pk=pk)
    explained = explain(_who(asked.user, asker), resource, asked.operation, asker=asker)
    return answer(_explanation(str(pk), explained))


def _who(username: str, asker: Principal) -> Principal:
    if not username:
        return asker
    model = get_user_model()
    manager: Any = model._default_manager
    try:
        user = manager.db_manager(databases.db_for_write(model)).get_by_natural_key(username)
    except model.DoesNotExist:
        raise InvalidRequest("user names nobody") from None
    return Principal(kind="user", user=user)


def _explanation(file: str, explained: Explanation) -> dict[str, Any]:
    signer = explained.signer
    return {
        "file": file,
        "principal": explained.principal,
        "operation": explained.operation,
        "allowed": explained.is_allowed,
        "reason": explained.reason or None,
        "policy": explained.policy or None,
        "asked": [
            {
                "policy": one.policy,
                "depth": one.depth,
                "answer": one.answer,
                "reason": one.reason,
                "limits": {name: _told(value) for name, value in one.limits.items()},
            }
            for one in explained.asked
        ],
        "limits": {name: _told(value) for name, value in explained.limits.items()},
        "limited_by": explained.limited_by or None,
        "ttl_seconds": explained.ttl_seconds,
        "expires_at": _told(explained.expires_at),
        "signer": None
        if signer is None
        else {
            "storage": signer.storage_alias,
            "provider": signer.provider,
            "credential_ends_at": _told(signer.credential_ends_at),
            "can_sign": not signer.problem,
        },
    }


def _told(value: Any) -> Any:
    return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value
