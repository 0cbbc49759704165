"""The rows of the gateway itself: files, tokens, grants, what was issued and taken back, what is to be deleted.

Rows hold facts. Must not decide, sign or touch a store, and never hold a link or a token.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Collection, Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn, Self

from django.conf import settings
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models, router
from django.utils import timezone

from providers.keys import key_error

__all__ = [
    "STAGING_PREFIX",
    "ApiToken",
    "Epoch",
    "ExternalIdentity",
    "File",
    "FileState",
    "Grant",
    "Issuance",
    "ObjectCopy",
    "ObjectDeletion",
    "UploadSession",
    "UploadState",
]


GRANTABLE = frozenset({"Download", "Upload", "UploadForm", "UploadPart", "Delete", "Update", "Share", "DownloadPrefix"})
DISPOSITIONS = frozenset({"inline", "attachment"})


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
    # Of gateway.epochs when it was made; without one, created_at says what is older.
    epoch = models.PositiveBigIntegerField(null=True, editable=False)

    def __str__(self) -> str:
        return self.name

    @classmethod
    def mint(cls, *, user: Any, name: str, scopes: list[str], expires_at: datetime) -> tuple[Self, str]:
        """Create a token and return it with its text, which can never be had again."""
        text = cls.PREFIX + secrets.token_urlsafe(32)
        token = cls.objects.create(
            user=user,
            name=name,
            scopes=scopes,
            expires_at=expires_at,
            digest=cls.digest_of(text),
            epoch=Epoch.current_number(),
        )
        return token, text

    @staticmethod
    def digest_of(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()


class Epoch(models.Model):
    """That something was taken back: what was given under a lower number is void.

    One row for each thing that ever was, and one that counts. The counter's lock is held until the commit, so
    that numbers become visible in their order, and nothing depends on what clocks say.
    """

    class Scope(models.TextChoices):
        COUNTER = "counter"
        EVERYTHING = "everything"
        STORAGE = "storage"
        TENANT = "tenant"
        PRINCIPAL = "principal"
        OBJECT = "object"  # or all below a prefix

    id = models.BigAutoField(primary_key=True)
    digest = models.CharField(max_length=32, unique=True, editable=False)
    scope = models.CharField(max_length=16, choices=Scope, editable=False)
    target = models.CharField(max_length=1100, blank=True, editable=False)
    number = models.PositiveBigIntegerField(db_index=True, editable=False)
    at = models.DateTimeField(editable=False)
    reason = models.CharField(max_length=255, blank=True, editable=False)

    def __str__(self) -> str:
        return f"{self.scope} {self.target}".strip()

    @staticmethod
    @lru_cache(maxsize=4096)
    def digest_of(scope: str, target: str = "") -> str:
        """Name a row by what it is about: keys are longer than an index may be."""
        return hashlib.sha256(f"{scope}\0{target}".encode()).hexdigest()[:32]

    @classmethod
    def current_number(cls) -> int:
        """Return the number of whatever is given now; 0 where nothing was ever taken back."""
        rows = cls.objects.using(router.db_for_write(cls)).filter(digest=cls.digest_of(cls.Scope.COUNTER))
        return rows.values_list("number", flat=True).first() or 0


class Grant(models.Model):
    """That a user, a group or a token may do some operations to one object, or to all below a prefix."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="file_grants"
    )
    group = models.ForeignKey("auth.Group", on_delete=models.CASCADE, null=True, blank=True, related_name="file_grants")
    token = models.ForeignKey(ApiToken, on_delete=models.CASCADE, null=True, blank=True, related_name="file_grants")
    storage_alias = models.CharField(max_length=64)
    key = models.CharField(max_length=255, help_text="One object, or with a slash at the end all that is below.")
    operations = models.JSONField(help_text='Names of operations, such as ["Download"]; none implies another.')
    max_ttl_seconds = models.PositiveIntegerField(null=True, blank=True, help_text="The longest life of a link.")
    dispositions = models.JSONField(
        null=True, blank=True, help_text='What a link may be, such as ["attachment"]; empty is no limit.'
    )
    until = models.DateTimeField(null=True, blank=True, help_text="The grant ends, and no link outlives it.")
    reason = models.CharField(max_length=255, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(user__isnull=False, group__isnull=True, token__isnull=True)
                | models.Q(user__isnull=True, group__isnull=False, token__isnull=True)
                | models.Q(user__isnull=True, group__isnull=True, token__isnull=False),
                name="gateway_grant_to_one",
            )
        ]
        indexes = [models.Index(fields=["storage_alias", "key"], name="gateway_grant_object")]

    def __str__(self) -> str:
        return f"{', '.join(map(str, self.operations))} of {self.storage_alias}: {self.key}"

    def clean(self) -> None:
        """Refuse what a policy could not hold.

        Raises:
            ValidationError: not one grantee, or a value that is none of those that there are.
        """
        if sum(one is not None for one in (self.user_id, self.group_id, self.token_id)) != 1:
            raise ValidationError("a grant is to one user, one group or one token")
        if problem := key_error(self.key.removesuffix("/")):
            raise ValidationError({"key": problem})
        operations = self.operations
        if not isinstance(operations, list) or not operations or not set(map(str, operations)) <= GRANTABLE:
            raise ValidationError({"operations": f"operations is {operations!r}; some of {sorted(GRANTABLE)}"})
        if self.max_ttl_seconds is not None and self.max_ttl_seconds < 1:
            raise ValidationError({"max_ttl_seconds": f"max_ttl_seconds is {self.max_ttl_seconds}; at least 1"})
        dispositions = self.dispositions
        if dispositions is not None and (
            not isinstance(dispositions, list) or not dispositions or not set(dispositions) <= DISPOSITIONS
        ):
            raise ValidationError({"dispositions": f"dispositions is {dispositions!r}; inline, attachment or both"})


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

    A row is one answer. What was served, where ``delivery`` says how, is the exception: such a row stands for
    ``count`` answers that are alike in all it says, the first of them at ``at``, the others in the same minute.
    No foreign keys: a row must say the same after users and files are gone.
    """

    class Decision(models.TextChoices):
        ISSUED = "issued"
        ALLOWED = "allowed"
        REFUSED = "refused"
        REVOKED = "revoked"

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
    delivery = models.CharField(max_length=32, blank=True, help_text="How it was served; empty for what was not.")
    count = models.PositiveIntegerField(default=1, help_text="How many answers the row stands for.")

    objects = AppendOnlyQuerySet.as_manager()

    # Not stored: under which number of gateway.epochs the link was made, until it leaves.
    epoch: int | None = None

    class Meta:
        indexes = [
            models.Index(fields=["principal", "at"], name="gateway_issuance_principal"),
            models.Index(fields=["resource", "at"], name="gateway_issuance_resource"),
        ]

    def __str__(self) -> str:
        times = f" ({self.count} times)" if self.count != 1 else ""
        return f"{self.decision} {self.operation} {self.resource} to {self.principal}{times}"

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


class ObjectCopy(models.Model):
    """That an object was copied from one place to another, and read there again: what a migration goes on from.

    Places are buckets and directories, not aliases: settings may give an alias to another bucket in between.
    """

    id = models.BigAutoField(primary_key=True)
    route = models.CharField(max_length=64, db_index=True, help_text="Digest of the two places.")
    digest = models.CharField(max_length=64, unique=True, help_text="Digest of the route and the name.")
    name = models.CharField(max_length=1024)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64)
    source_etag = models.CharField(max_length=1024)
    target_etag = models.CharField(max_length=1024)
    target_version = models.CharField(max_length=1024, blank=True)
    copied_at = models.DateTimeField(default=timezone.now)
    source_deleted_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name_plural = "object copies"

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def digest_of(route: str, name: str) -> str:
        """Name a row by what it is about: names are longer than an index may be."""
        return hashlib.sha256(f"{route}\0{name}".encode()).hexdigest()


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


class UploadState(models.TextChoices):
    ISSUED = "issued"
    UPLOADING = "uploading"
    VERIFYING = "verifying"
    READY = "ready"
    REJECTED = "rejected"
    ABORTED = "aborted"
    EXPIRED = "expired"

    @classmethod
    def open(cls) -> tuple[str, ...]:
        """Return the states from which an upload may still become a file."""
        return (cls.ISSUED, cls.UPLOADING, cls.VERIFYING)


STAGING_PREFIX = "staging/"


def _new_upload_id() -> str:
    return f"upl_{secrets.token_hex(16)}"


class UploadSession(models.Model):
    """One upload on its way from a client to the store: what was declared, and what has become of it.

    Every change of ``state`` is one compare-and-swap. Nothing can be downloaded by this row.
    """

    class Strategy(models.TextChoices):
        SINGLE = "single"
        MULTIPART = "multipart"
        FORM = "form"
        RESUMABLE = "resumable"

    id = models.CharField(primary_key=True, max_length=40, default=_new_upload_id, editable=False)
    principal = models.CharField(max_length=255, help_text="Who began it, and alone may go on with it.")
    tenant = models.CharField(max_length=255, blank=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    storage_alias = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    filename = models.CharField(max_length=255)
    content_type = models.CharField(max_length=255)
    size_bytes = models.PositiveBigIntegerField()
    sha256 = models.CharField(max_length=64, blank=True, help_text="As declared; hexadecimal.")
    md5 = models.CharField(max_length=32, blank=True, help_text="As declared, where no SHA-256 was; hexadecimal.")
    strategy = models.CharField(max_length=16, choices=Strategy)
    part_bytes = models.PositiveBigIntegerField(default=0)
    store_upload_id = models.CharField(
        max_length=4096, blank=True, help_text="Sealed where it is a secret: the URL of a resumable session."
    )
    target = models.CharField(max_length=400, blank=True, help_text="Reference to the field that gets the file.")
    idempotency = models.CharField(max_length=64, null=True, unique=True)  # noqa: DJ001  (unique, and mostly none)
    request_digest = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=16, choices=UploadState, default=UploadState.ISSUED)
    reason = models.CharField(max_length=32, blank=True, help_text="Code of the error that it was rejected with.")
    file = models.ForeignKey(File, on_delete=models.PROTECT, null=True, related_name="+")
    etag = models.CharField(max_length=1024, blank=True)
    version = models.CharField(max_length=1024, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField(help_text="After it nothing is signed or finalized.")
    links_end_at = models.DateTimeField(help_text="When the last link that was issued for it dies.")
    finished_at = models.DateTimeField(null=True)
    verify_until = models.DateTimeField(
        null=True, help_text="While a task verifies it: after it the task is taken for dead, and another begins."
    )

    class Meta:
        constraints = [models.UniqueConstraint(fields=["storage_alias", "key"], name="gateway_upload_key")]
        indexes = [
            models.Index(
                fields=["expires_at"],
                condition=models.Q(state__in=("issued", "uploading", "verifying")),
                name="gateway_upload_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.id}: {self.state}"

    @property
    def staging_key(self) -> str:
        """Where a form puts the bytes: a form overwrites as long as it lives, so that no file is made there."""
        return f"{STAGING_PREFIX}{self.pk}"
