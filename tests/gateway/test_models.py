"""The rows of the gateway: what cannot be changed, and what is never kept."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.apps import apps
from django.contrib.admin import ModelAdmin, site
from django.core import serializers
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.db import IntegrityError, models, transaction
from django.db.models import ForeignObjectRel, RestrictedError
from django.test import RequestFactory

from gateway.models import ApiToken, File, Issuance, ObjectDeletion
from tests.gateway.conftest import new_file

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def new_issuance(**fields: Any) -> Issuance:
    row = {"at": NOW, "decision": "issued", "principal": "user:1", "operation": "Download", "resource": "r"}
    return Issuance.objects.create(**row | fields)


def changed(row: Issuance) -> Issuance:
    row.principal = "user:2"
    return row


def saved_again(row: Issuance) -> None:
    changed(row).save()


def saved_by_an_instance_made_by_hand(row: Issuance) -> None:
    Issuance(id=row.id, at=NOW, decision="issued", principal="user:2", operation="x", resource="r").save(
        force_update=True
    )


def saved_some_fields(row: Issuance) -> None:
    Issuance(id=row.id, principal="user:2").save(update_fields=["principal"])


def upserted(row: Issuance) -> None:
    Issuance.objects.bulk_create(
        [changed(row)], update_conflicts=True, update_fields=["principal"], unique_fields=["id"]
    )


def upserted_by_position(row: Issuance) -> None:
    Issuance.objects.bulk_create([changed(row)], None, False, True, ["principal"], ["id"])


def inserted_where_not_there(row: Issuance) -> None:
    Issuance.objects.bulk_create([changed(row)], ignore_conflicts=True)


def admin_delete_selected(row: Issuance) -> None:
    ModelAdmin(Issuance, site).delete_queryset(RequestFactory().get("/"), Issuance.objects.all())


def admin_delete(row: Issuance) -> None:
    ModelAdmin(Issuance, site).delete_model(RequestFactory().get("/"), row)


def admin_save(row: Issuance) -> None:
    ModelAdmin(Issuance, site).save_model(RequestFactory().get("/"), changed(row), None, True)


CHANGES: dict[str, Callable[[Issuance], Any]] = {
    "save": saved_again,
    "save of an instance made by hand": saved_by_an_instance_made_by_hand,
    "save of some fields": saved_some_fields,
    "upsert": upserted,
    "upsert by position": upserted_by_position,
    "insert that leaves rows out": inserted_where_not_there,
    "admin: delete selected": admin_delete_selected,
    "admin: delete": admin_delete,
    "admin: save": admin_save,
    "delete": lambda row: row.delete(),
    "asave": lambda row: async_to_sync(changed(row).asave)(),
    "adelete": lambda row: async_to_sync(row.adelete)(),
    "manager update": lambda row: Issuance.objects.update(principal="user:2"),
    "queryset update": lambda row: Issuance.objects.filter(pk=row.pk).update(principal="user:2"),
    "queryset aupdate": lambda row: async_to_sync(Issuance.objects.all().aupdate)(principal="user:2"),
    "bulk update": lambda row: Issuance.objects.bulk_update([changed(row)], ["principal"]),
    "update or create": lambda row: Issuance.objects.update_or_create({"principal": "user:2"}, pk=row.pk),
    "queryset delete": lambda row: Issuance.objects.filter(pk=row.pk).delete(),
    "queryset adelete": lambda row: async_to_sync(Issuance.objects.all().adelete)(),
    "delete of none": lambda row: Issuance.objects.none().delete(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_audit_row_is_never_changed_or_deleted(db: None, change: Callable[[Issuance], Any]) -> None:
    row = new_issuance()

    with pytest.raises(PermissionDenied, match="append-only"), transaction.atomic():
        change(row)

    assert list(Issuance.objects.values_list("pk", "principal")) == [(row.pk, "user:1")]


def test_an_audit_row_with_the_key_of_another_is_refused_by_the_database(db: None) -> None:
    row = new_issuance()

    with pytest.raises(IntegrityError), transaction.atomic():
        Issuance(id=row.id, at=NOW, decision="issued", principal="user:2", operation="x", resource="r").save()

    assert Issuance.objects.get().principal == "user:1"


def test_an_audit_row_marked_as_new_again_is_refused_by_the_database(db: None) -> None:
    row = changed(new_issuance())
    row._state.adding = True

    with pytest.raises(IntegrityError), transaction.atomic():
        row.save()

    assert Issuance.objects.get().principal == "user:1"


def test_audit_rows_refer_to_nothing_that_could_be_deleted_with_them() -> None:
    assert not any(field.is_relation for field in Issuance._meta.get_fields())


def test_an_audit_row_outlives_its_user(alice: Any) -> None:
    new_issuance(principal=f"user:{alice.pk}")
    pk = alice.pk

    alice.delete()

    assert Issuance.objects.get().principal == f"user:{pk}"


def test_audit_rows_can_be_restored_from_a_dump(db: None, tmp_path: Any) -> None:
    row = new_issuance()
    dump = tmp_path / "issuances.json"
    dump.write_text(serializers.serialize("json", [row]))
    Issuance.objects.all()._raw_delete("default")  # as a lost database has none

    call_command("loaddata", str(dump), verbosity=0)

    assert Issuance.objects.get() == row


def test_no_model_has_a_column_for_a_link_or_a_secret() -> None:
    columns = {
        f"{model.__name__}.{field.name}"
        for model in apps.get_app_config("presign_gateway").get_models()
        for field in model._meta.get_fields()
        if not isinstance(field, ForeignObjectRel)
    }

    assert not {name for name in columns if any(word in name for word in ("url", "signature", "secret", "token."))}


def test_migrations_are_complete(db: None) -> None:
    call_command("makemigrations", "presign_gateway", check=True, dry_run=True, verbosity=0)


def test_the_label_is_pinned() -> None:
    assert File._meta.label == "presign_gateway.File"


def test_a_key_is_used_once_for_each_storage(alice: Any) -> None:
    new_file(alice, key="uploads/a")
    new_file(alice, key="uploads/a", storage_alias="other")

    with pytest.raises(IntegrityError), transaction.atomic():
        new_file(alice, key="uploads/a", state="deleted")


def test_a_user_with_files_is_not_deleted(alice: Any) -> None:
    new_file(alice)

    with pytest.raises((models.ProtectedError, RestrictedError)):
        alice.delete()


def test_a_token_is_kept_as_a_digest_alone(alice: Any) -> None:
    token, text = ApiToken.mint(user=alice, name="ci", scopes=["Download"], expires_at=NOW)

    stored = ApiToken.objects.filter(pk=token.pk).values().get()
    secret = text.removeprefix(ApiToken.PREFIX)

    assert text.startswith("pgw_")
    assert stored["digest"] == ApiToken.digest_of(text)
    assert not any(secret in str(value) for value in stored.values())
    assert secret not in repr(token) + str(token) + repr(vars(token))


def test_two_tokens_are_never_alike(alice: Any) -> None:
    texts = {ApiToken.mint(user=alice, name="ci", scopes=[], expires_at=NOW)[1] for _ in range(20)}

    assert len(texts) == 20
    assert all(len(text) == len("pgw_") + 43 for text in texts)  # 256 bits in base64


def test_rows_say_what_they_are(alice: Any) -> None:
    token, _ = ApiToken.mint(user=alice, name="ci", scopes=[], expires_at=NOW)
    deletion = ObjectDeletion(storage_alias="private", key="uploads/a", not_before=NOW + timedelta(days=1))

    assert str(new_file(alice, filename="a.pdf")) == "a.pdf"
    assert str(token) == "ci"
    assert str(deletion) == "private: uploads/a"
    assert str(new_issuance(resource="r:1")) == "issued Download r:1 to user:1"


def test_primary_keys_of_what_clients_name_cannot_be_guessed(alice: Any) -> None:
    for row in (new_file(alice), new_issuance()):
        assert isinstance(row.pk, uuid.UUID)
        assert row.pk.version == 4
