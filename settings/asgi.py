"""The ASGI entry point of the standalone service."""

import os

import django

from settings.handlers import ServiceASGIHandler

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.production")

django.setup(set_prefix=False)
application = ServiceASGIHandler()
