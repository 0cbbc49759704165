"""What a careful developer writes down of each answer: one row, before it leaves."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils import timezone

from gateway.models import Issuance


def record(request: HttpRequest) -> None:
    now = timezone.now()
    Issuance.objects.create(
        at=now,
        decision=Issuance.Decision.ISSUED,
        principal=f"user:{request.user.pk}",
        operation="Download",
        resource="a file",
        key="a key",
        expires_at=now,
    )
