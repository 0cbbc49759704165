"""The gateway's own rows in the admin, as facts: who has what, what was issued, and what is to be deleted.

Must not make a link, show what proves an identity, or change what an audit has to say.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from gateway.fields import permalink_of
from gateway.models import ApiToken, Epoch, ExternalIdentity, File, FileState, Grant, Issuance, ObjectDeletion
from gateway.principals import principal_of_user
from gateway.resources import Resource
from gateway.revocation import end_grant

__all__ = [
    "ApiTokenAdmin",
    "EpochAdmin",
    "ExternalIdentityAdmin",
    "FileAdmin",
    "GrantAdmin",
    "IssuanceAdmin",
    "ObjectDeletionAdmin",
]


class _RowsAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Does not tell staff who may see no row whether there is one."""

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        # Django looks the row up before it asks who may, and leads away from one that is missing.
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        return super().history_view(request, object_id, extra_context)


class FactsAdmin(_RowsAdmin):
    """Rows to look at: nobody adds, changes or deletes one here."""

    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(File)
class FileAdmin(FactsAdmin):
    list_display = ("filename", "owner", "storage_alias", "content_type", "size_bytes", "state", "created_at")
    list_filter = ("state",)
    list_select_related = ("owner",)
    search_fields = ("id__exact", "key__exact", "filename__startswith")
    ordering = ("-created_at", "-id")
    fields = (
        "permalink", "filename", "owner", "content_type", "size_bytes", "state", "created_at",
        "id", "storage_alias", "key", "version",
    )  # fmt: skip

    @admin.display(description="link")
    def permalink(self, file: File) -> SafeString | None:
        """The stable link, which decides when it is followed: to see this page is no permission to read."""
        if file.state != FileState.READY:
            return None
        return format_html('<a href="{}">{}</a>', permalink_of(Resource.of_file(file)), file.filename)


@admin.register(ApiToken)
class ApiTokenAdmin(FactsAdmin):
    """Tokens are made by ``manage.py gateway_token``, which shows their text once; to delete one revokes it."""

    list_display = ("name", "user", "scopes", "created_at", "expires_at", "last_used_at")
    list_select_related = ("user",)
    search_fields = ("name", "id__exact")
    ordering = ("-created_at",)
    fields = ("id", "name", "user", "scopes", "created_at", "expires_at", "last_used_at")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)


@admin.register(Issuance)
class IssuanceAdmin(FactsAdmin):
    list_display = ("at", "decision", "operation", "resource", "principal", "count", "policy", "reason", "expires_at")
    list_filter = ("decision", "delivery", "at")
    # Exact, since these are the columns that have an index, or are rare enough.
    search_fields = ("principal__exact", "resource__exact", "link_id__exact", "request_id__exact")
    ordering = ("-at", "-id")
    list_per_page = 50


@admin.register(ObjectDeletion)
class ObjectDeletionAdmin(FactsAdmin):
    list_display = ("key", "storage_alias", "requested_at", "not_before", "done_at", "attempts", "last_error")
    list_filter = ("storage_alias", ("done_at", admin.EmptyFieldListFilter))
    search_fields = ("key__exact",)
    ordering = ("-requested_at", "-id")


@admin.register(ExternalIdentity)
class ExternalIdentityAdmin(_RowsAdmin):
    """Whom an issuer means by a subject: rows that somebody has to make, since none makes itself."""

    list_display = ("subject", "issuer", "user", "created_at")
    list_select_related = ("user",)
    raw_id_fields = ("user",)
    readonly_fields = ("created_at",)
    search_fields = ("subject__exact",)
    ordering = ("issuer", "subject")


@admin.register(Grant)
class GrantAdmin(_RowsAdmin):
    """Grants are made and ended, not changed: who was given what stays true in the audit."""

    list_display = ("__str__", "user", "group", "token", "until", "created_at", "reason")
    list_select_related = ("user", "group", "token")
    list_filter = ("storage_alias", "until")
    raw_id_fields = ("user", "group", "token")
    readonly_fields = ("created_at",)
    search_fields = ("key__exact", "id__exact", "user__pk__exact")
    ordering = ("-created_at", "-id")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def delete_model(self, request: HttpRequest, obj: Grant) -> None:
        end_grant(obj, by=principal_of_user(request, request.user))

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for grant in queryset:
            self.delete_model(request, grant)


@admin.register(Epoch)
class EpochAdmin(FactsAdmin):
    """What was taken back; ``manage.py gateway_revoke`` does it."""

    list_display = ("scope", "target", "number", "at", "reason")
    list_filter = ("scope",)
    search_fields = ("target__exact",)
    ordering = ("-number",)
