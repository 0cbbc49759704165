"""The Django app: its label, and what is set up once all models are loaded."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import class_prepared


class GatewayConfig(AppConfig):
    name = "gateway"
    label = "presign_gateway"
    verbose_name = "Private files"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        import gateway.checks  # noqa: F401  (registers itself)
        from gateway.fields import adopt
        from gateway.tasks import hide_requests_from_tasks

        def adopt_sender(sender: Any, **_: Any) -> None:
            adopt(sender)

        for model in apps.get_models(include_auto_created=True):
            adopt(model)
        # Models that are made later, in tests and by factories.
        class_prepared.connect(adopt_sender, weak=False, dispatch_uid="gateway.fields.adopt")
        hide_requests_from_tasks()
