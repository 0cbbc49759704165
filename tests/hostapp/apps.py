from django.apps import AppConfig


class HostConfig(AppConfig):
    name = "tests.hostapp"
    default_auto_field = "django.db.models.BigAutoField"
