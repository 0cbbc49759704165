"""The Django app: its label, and what is set up once all models are loaded.

Must not import a framework that the project has not installed.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import class_prepared, post_migrate


class GatewayConfig(AppConfig):
    name = "gateway"
    label = "presign_gateway"
    verbose_name = "Private files"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        import gateway.checks  # noqa: F401  (registers itself)
        from gateway import epochs
        from gateway.fields import adopt
        from gateway.tasks import hide_requests_from_tasks

        def adopt_sender(sender: Any, **_: Any) -> None:
            adopt(sender)

        for model in apps.get_models(include_auto_created=True):
            adopt(model)
        # Models that are made later, in tests and by factories.
        class_prepared.connect(adopt_sender, weak=False, dispatch_uid="gateway.fields.adopt")
        post_migrate.connect(epochs.begin_to_count, sender=self, dispatch_uid="gateway.epochs.begin_to_count")
        hide_requests_from_tasks()
        _show_links()


def _show_links() -> None:
    """Teach forms, the admin and serializers to show private files; done again, it changes nothing."""
    from gateway.fields import tell_permalink
    from gateway.forms import show_permalinks

    show_permalinks()
    if apps.is_installed("django.contrib.admin"):
        from django.contrib.admin.utils import display_for_field

        tell_permalink(display_for_field)
    if apps.is_installed("rest_framework"):
        from gateway.contrib.rest_framework import map_fields as map_serializer_fields

        map_serializer_fields()
    # It works without being an app; another package of the name, a build tool, has no such room.
    if find_spec("ninja") is not None and find_spec("ninja.orm") is not None:
        from gateway.contrib.ninja import map_fields as map_schema_fields

        map_schema_fields()
