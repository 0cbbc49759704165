"""The rows of the gateway itself: the service's files, API tokens, what was issued, what is to be deleted.

Rows hold facts. Must not decide, sign or touch a store, and never hold a link or a token.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, NoReturn, Self

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import models
from django.utils import timezone

__all__ = ["ApiToken", "ExternalIdentity", "File", "Issuance", "ObjectDeletion"]


class FileState(models.TextChoices):
    READY = "ready"
    DELETING = "deleting"
    DELETED = "deleted"


class File(models.Model):
    """A private file of the standalone service.

    The row outlives its object as a tombstone, so that no key is ever used twice.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="private_files", editable=False
    )
    storage_alias = models.CharField(max_length=64, editable=False)
    key = models.CharField(max_length=255, editable=False)
    filename = models.CharField(max_length=255)
    content_type = models.CharField(max_length=255, editable=False)
    size_bytes = models.PositiveBigIntegerField(editable=False)
    version = models.CharField(max_length=1024, blank=True, editable=False)
    state = models.CharField(max_length=16, choices=FileState, default=FileState.READY, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["storage_alias", "key"], name="gateway_file_key")]
        indexes = [models.Index(fields=["-created_at", "-id"], name="gateway_file_newest")]
        # share is asked for when a file is attached to another row; nothing implies it.
        permissions = [("share_file", "Can share file")]

    def __str__(self) -> str:
        return self.filename


class ApiToken(models.Model):
    """A bearer token of one user, of which only a digest is kept.

    The token holds 256 random bits, so a plain digest cannot be searched, and can be looked up.
    """

    PREFIX = "pgw_"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes = models.JSONField(help_text="Names of the operations that the token may ask for.")
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def mint(cls, *, user: Any, name: str, scopes: list[str], expires_at: datetime) -> tuple[Self, str]:
        """Create a token and return it with its text, which can never be had again."""
        text = cls.PREFIX + secrets.token_urlsafe(32)
        token = cls.objects.create(
            user=user, name=name, scopes=scopes, expires_at=expires_at, digest=cls.digest_of(text)
        )
        return token, text

    @staticmethod
    def digest_of(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()


class AppendOnlyQuerySet(models.QuerySet[Any]):
    """Rows that are only ever added; retention is a command of its own."""

    def bulk_create(
        self,
        objs: Iterable[Any],
        batch_size: int | None = None,
        ignore_conflicts: bool = False,
        update_conflicts: bool = False,
        update_fields: Collection[str] | None = None,
        unique_fields: Collection[str] | None = None,
    ) -> list[Any]:
        # An upsert is an update, and a row that was silently left out is none.
        if ignore_conflicts or update_conflicts:
            raise PermissionDenied("audit rows are append-only")
        return super().bulk_create(objs, batch_size)

    def update(self, **_: Any) -> NoReturn:
        raise PermissionDenied("audit rows are append-only")

    def delete(self) -> NoReturn:
        raise PermissionDenied("audit rows are append-only")


class Issuance(models.Model):
    """What was decided, for whom, about what, until when. Never the link.

    No foreign keys: a row must say the same after users and files are gone.
    """

    class Decision(models.TextChoices):
        ISSUED = "issued"
        ALLOWED = "allowed"
        REFUSED = "refused"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    at = models.DateTimeField(db_index=True)
    decision = models.CharField(max_length=8, choices=Decision)
    principal = models.CharField(max_length=255)
    acted_by = models.CharField(max_length=255, blank=True)
    credential = models.CharField(max_length=64, blank=True)
    tenant = models.CharField(max_length=255, blank=True)
    operation = models.CharField(max_length=32)
    storage_alias = models.CharField(max_length=64, blank=True)
    resource = models.CharField(max_length=512)
    key = models.CharField(max_length=1024, blank=True)
    policy = models.CharField(max_length=255, blank=True)
    reason = models.CharField(max_length=255, blank=True)
    link_id = models.CharField(max_length=64, blank=True)
    link_hash = models.CharField(max_length=64, blank=True)
    expires_at = models.DateTimeField(null=True)
    limited_by = models.CharField(max_length=32, blank=True)
    request_id = models.CharField(max_length=64, blank=True)

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["principal", "at"], name="gateway_issuance_principal"),
            models.Index(fields=["resource", "at"], name="gateway_issuance_resource"),
        ]

    def __str__(self) -> str:
        return f"{self.decision} {self.operation} {self.resource} to {self.principal}"

    def save(self, *, using: str | None = None, force_insert: Any = True, **kwargs: Any) -> None:
        # An instance made by hand may bear the key of a row that exists: an insert alone cannot change it.
        if not self._state.adding or any(kwargs.values()):
            raise PermissionDenied("audit rows are append-only")
        super().save(using=using, force_insert=True)

    def delete(self, *_: Any, **__: Any) -> NoReturn:
        raise PermissionDenied("audit rows are append-only")


class ObjectDeletion(models.Model):
    """The outbox: an object that is to be deleted once no row names it any more.

    Written in the transaction that lets go of the object, carried out by the sweeper.
    """

    id = models.BigAutoField(primary_key=True)
    storage_alias = models.CharField(max_length=64)
    key = models.CharField(max_length=1024)
    requested_at = models.DateTimeField(default=timezone.now)
    not_before = models.DateTimeField(db_index=True)
    done_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=255, blank=True)

    class Meta:
        indexes = [
            models.Index(fields=["not_before"], condition=models.Q(done_at__isnull=True), name="gateway_deletion_due")
        ]

    def __str__(self) -> str:
        return f"{self.storage_alias}: {self.key}"


class ExternalIdentity(models.Model):
    """Whom an issuer of JSON web tokens means by a subject. Without a row the subject is nobody here."""

    id = models.BigAutoField(primary_key=True)
    issuer = models.CharField(max_length=255)
    subject = models.CharField(max_length=255)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="external_identities")
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        verbose_name_plural = "external identities"
        constraints = [models.UniqueConstraint(fields=["issuer", "subject"], name="gateway_external_identity")]

    def __str__(self) -> str:
        return f"{self.subject} of {self.issuer}"
