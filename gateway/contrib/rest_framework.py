"""Django REST framework: file fields whose link is null where it is refused, for serializers as they are.

Must not authenticate anybody: it only sees to it that the view's own authentication has been asked first.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.settings import api_settings

from gateway.errors import AccessDenied
from gateway.fields import PrivateFieldFile
from gateway.links import LinkText
from gateway.principals import ANONYMOUS, ambient_lease, bind_principal

__all__ = ["FileField", "ImageField", "map_fields"]


class FileField(serializers.FileField):  # type: ignore[misc]
    """A file field: a link for whoever the request is authenticated as, null where it is refused.

    A serializer made of a model uses it by itself; one that declares its fields names it.

    Raises:
        NoPrincipal: nobody is asking; an error of the project, never null.
        StorageUnavailable: the storage cannot sign.
    """

    def to_representation(self, value: Any) -> Any:
        shows_url = getattr(self, "use_url", api_settings.UPLOADED_FILES_USE_URL)
        if not (isinstance(value, PrivateFieldFile) and value and shows_url):
            return super().to_representation(value)
        request = self.context.get("request")
        if isinstance(request, Request):
            _authenticate(request)
        try:
            url = value.url
        except AccessDenied:
            # One row that is refused neither fails a list nor undoes what was written.
            return None
        return url if request is None else _absolute(request, url)


class ImageField(FileField, serializers.ImageField):  # type: ignore[misc]
    """The same for images, whose uploads are checked."""


def map_fields() -> None:
    """Let serializers of models use our fields, unless the project maps its own."""
    mapping = serializers.ModelSerializer.serializer_field_mapping
    for model_field, its, ours in (
        (models.FileField, serializers.FileField, FileField),
        (models.ImageField, serializers.ImageField, ImageField),
    ):
        if mapping.get(model_field) is its:
            mapping[model_field] = ours


def _authenticate(request: Request) -> None:
    """Let the view's authentication speak, which may be put off until somebody asks.

    It sets the user of Django's request, which is whom the gateway asks for; None where it names nobody.
    """
    lease = ambient_lease()
    if request.user is None and lease is not None and lease.request is request._request and lease.bound is None:
        bind_principal(ANONYMOUS)


def _absolute(request: Any, url: str) -> str:
    if "://" in url.partition("?")[0]:
        return url
    absolute: str = request.build_absolute_uri(url)
    # It made plain text of what no cache takes.
    return LinkText(absolute) if isinstance(url, LinkText) else absolute
