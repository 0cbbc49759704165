"""The value of a file field: its ``.url`` is a link that was decided for whoever is asking.

Must not decide or sign; what only shows a file is told the permalink, and asks nobody.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from types import CodeType
from typing import Any, Self, cast

from django.core.files.storage import storages
from django.db import models
from django.db.models.fields.files import FieldFile, ImageFieldFile
from django.template.base import Variable
from django.urls import reverse

from gateway import links, outbox
from gateway.conf import conf
from gateway.errors import AccessDenied, KeyNotMinted, StorageUnavailable, SyncOnly
from gateway.fields.names import MintedNames, OwnName
from gateway.models import File
from gateway.policies import Share
from gateway.principals import current, in_event_loop
from gateway.resources import Resource, alias_of, is_private_storage, reference_to
from gateway.storages import StorageByAlias
from providers.disposition import Disposition
from providers.types import Download

__all__ = ["PrivateFieldFile", "PrivateImageFieldFile", "is_private", "permalink_of", "tell_none", "tell_permalink"]

# The one caller for whom a refusal is silent: {{ document.file.url }} in a template.
_TEMPLATE_LOOKUP = Variable._resolve_lookup.__code__  # type: ignore[attr-defined]
# Functions of frameworks that look ``url`` up only to show it, and what each is told instead.
_TOLD: dict[CodeType, Callable[[PrivateFieldFile], str | None]] = {}


class PrivateFieldFile(FieldFile):
    """The value of a file field on a private storage."""

    field: Any
    _other_storage: Any = None
    # A copy that a form shows.
    _is_shown = False

    @property
    def storage(self) -> Any:
        """The storage itself, since libraries look for it in ``storages``; the field has a stand-in for an alias."""
        storage = self.field.storage if self._other_storage is None else self._other_storage
        return storages[storage.alias] if type(storage) is StorageByAlias else storage

    @storage.setter
    def storage(self, storage: Any) -> None:
        self._other_storage = None if storage is self.field.storage else storage

    @property
    def url(self) -> str:
        """A presigned link for whoever is asking; the permalink where the storage's ``url_mode`` says so.

        The admin's lists and read-only fields are told the permalink; so are forms, by :meth:`as_shown`.

        Raises:
            AccessDenied: no; silent only where a template looked ``url`` up directly.
            NoPrincipal: nobody is asking.
            StorageUnavailable: the storage cannot sign, or is not a private one.
            SyncOnly: in a running event loop, unless it was prefetched; use ``await file.aurl()``.
        """
        told = _shown_url if self._is_shown else _TOLD.get(sys._getframe(1).f_code)
        if told is not None:
            return cast("str", told(self))
        try:
            if self._url_mode == "permalink":
                return self.permalink
            return self._link("url", "aurl()")
        except AccessDenied as denied:
            denied.silent_variable_failure = sys._getframe(1).f_code is _TEMPLATE_LOOKUP
            raise

    @property
    def permalink(self) -> str:
        """The stable URL that decides when it is followed, and then redirects. It needs nobody to ask.

        Raises:
            AccessDenied: the row is not saved, so that nothing stable could name it.
        """
        return permalink_of(self._resource())

    def signed_url(
        self,
        *,
        ttl: timedelta | None = None,
        disposition: Disposition | None = None,
        filename: str | None = None,
    ) -> str:
        """Return a presigned link for whoever is asking, in both modes of the storage.

        Args:
            ttl: whole seconds; None is the smallest of the default and every limit.
            disposition: ``inline`` is granted only for the storage's ``inline_types``.
            filename: the name that browsers save under.

        Raises:
            AccessDenied, NoPrincipal, TTLTooLong: as :func:`gateway.links.issue`.
            SyncOnly: in a running event loop, unless it was prefetched; use ``await file.asigned_url()``.
        """
        return self._link("signed_url()", "asigned_url()", _download(disposition, filename), ttl)

    async def aurl(self) -> str:
        """Async form of :attr:`url`."""
        if self._url_mode == "permalink":
            return self.permalink
        return (await links.aissue_once(self._resource())).text

    async def asigned_url(
        self,
        *,
        ttl: timedelta | None = None,
        disposition: Disposition | None = None,
        filename: str | None = None,
    ) -> str:
        """Async form of :meth:`signed_url`."""
        link = await links.aissue_once(self._resource(), _download(disposition, filename), ttl=ttl)
        return link.text

    def attach(self, key: str, *, from_: models.Model) -> None:
        """Take over the object of another row, whose *share* policy is asked.

        Args:
            key: the name that ``from_`` holds.
            from_: a row with a private file field on the same storage, or a ``File``.

        Raises:
            AccessDenied: no, or ``from_`` does not hold the key.
            KeyNotMinted: the two are not on the same storage.
            NoPrincipal: nobody is asking.
        """
        source = _holder_of(key, from_)
        if source.storage_alias != alias_of(self.storage):
            raise KeyNotMinted(f"the object is on {source.storage_alias!r}, the field on another storage")
        links.authorize(current(), source, Share)
        setattr(self.instance, self.field.attname, key)
        self.remember_minted(key)

    def save(self, name: str, content: Any, save: bool = True) -> None:
        super().save(name, content, save=False)
        self.remember_minted(str(self.name))
        if save:
            self.instance.save()

    def delete(self, save: bool = True) -> None:
        """Let go of the object: it is deleted by the sweeper, when the grace is over and no row names it.

        Raises:
            KeyNotMinted: the name was assigned, so that the object is not this row's to delete.
        """
        if not self:
            return
        name = str(self.name)
        if isinstance(self.field, MintedNames):
            self.field.check_own(self)
            self.field.hold(self.instance, self.field.held_by(self.instance) - {name})
        if hasattr(self, "_file"):
            self.close()
            del self.file
        outbox.enqueue(alias_of(self.storage), name, using=self.instance._state.db)
        self.name = None
        setattr(self.instance, self.field.attname, None)
        self._committed = False
        if save:
            self.instance.save()

    def as_shown(self) -> Self:
        """Return a copy for pages that show a file without asking for it: its ``.url`` is the permalink.

        It is empty where there is none: then nothing is stored that could be shown.
        """
        # Not copy.copy(), which goes by __getstate__() and would read an image's dimensions again.
        shown = type(self).__new__(type(self))
        shown.__dict__.update(self.__dict__, _is_shown=True)
        return shown

    @property
    def _url_mode(self) -> str:
        if not is_private_storage(self.storage):
            raise StorageUnavailable(f"{self.field} is on a {self.storage.__class__.__name__}, which is not private")
        return cast("str", self.storage.url_mode)

    def _link(self, called: str, instead: str, operation: Any = Download, ttl: timedelta | None = None) -> str:
        resource = self._resource()
        if in_event_loop():
            link = links.issued_before(resource, operation, ttl=ttl)
            if link is None:
                raise SyncOnly(f".{called} asks the database and would block the event loop; use await .{instead}")
        else:
            link = links.issue_once(resource, operation, ttl=ttl)
        return link.text

    def remember_minted(self, name: str) -> None:
        """Let the row be saved with a name that its storage has just made for it."""
        if isinstance(self.field, MintedNames):
            self.field.remember(self.instance, OwnName(name))

    def _resource(self) -> Resource:
        self._require_file()  # type: ignore[attr-defined]
        return Resource.of_field(self.instance, self.field.name, key=str(self.name))


class PrivateImageFieldFile(PrivateFieldFile, ImageFieldFile):
    """The value of an image field on a private storage."""

    def save(self, name: str, content: Any, save: bool = True) -> None:
        convert = getattr(self.field, "convert", None)
        if convert is None:
            super().save(name, content, save)
            return
        from gateway.pictures import FORMATS, encoded, opened

        directory, slash, filename = name.rpartition("/")
        stem = f"{directory}{slash}{filename.rpartition('.')[0] or filename}"
        with opened(content) as picture:
            sizes = {size: encoded(picture, convert, size) for size in self.field.sizes.values()}
            whole = encoded(picture, convert)
        super().save(f"{stem}{FORMATS[convert]}", whole, save=False)
        for rendition, size in self.field.renditions.items():
            getattr(self.instance, rendition).save(f"{stem}{FORMATS[convert]}", sizes[size], save=False)
        if save:
            self.instance.save()

    def delete(self, save: bool = True) -> None:
        if hasattr(self, "_dimensions_cache"):
            del self._dimensions_cache
        if self:
            for rendition in getattr(self.field, "renditions", ()):
                getattr(self.instance, rendition).delete(save=False)
        super().delete(save)

    def attach(self, key: str, *, from_: models.Model) -> None:
        super().attach(key, from_=from_)
        # They show what was here before.
        for rendition in getattr(self.field, "renditions", ()):
            setattr(self.instance, rendition, None)


def tell_permalink(function: Any) -> None:
    """Let a function that only shows links be told the permalink, for which nobody is asked."""
    _TOLD[inspect.unwrap(function).__code__] = _shown_url


def tell_none(function: Any) -> None:
    """Let a function be told None where ``url`` is refused: for serializers, where one row must not fail all."""
    _TOLD[inspect.unwrap(function).__code__] = _url_or_none


def permalink_of(resource: Resource) -> str:
    """Return the stable URL of an object that a reference can name.

    Raises:
        AccessDenied: its row is not saved.
    """
    if resource.pk is None:
        raise AccessDenied("a row that is not saved has no permalink", resource)
    path = reverse("presign_gateway:permalink", kwargs={"reference": reference_to(resource)})
    return f"{conf().public_origin}{path}"


def is_private(field: models.FileField) -> bool:
    """Tell whether a field's storage is one of ours; one that cannot be built is for the system check."""
    try:
        return is_private_storage(field.storage)
    except Exception:
        # Whatever an option made its backend raise.
        return False


def _holder_of(key: str, row: models.Model) -> Resource:
    if isinstance(row, File):
        # The door looks the row up by the key that is asked for, whatever the caller's instance says.
        return replace(Resource.of_file(row), key=key)
    for field in row._meta.concrete_fields:
        if isinstance(field, models.FileField) and is_private(field) and getattr(row, field.attname).name == key:
            return Resource.of_field(row, field.name)
    raise AccessDenied("the row holds no such key", None)


def _shown_url(file: PrivateFieldFile) -> str:
    try:
        return file.permalink
    except AccessDenied:
        return ""


def _url_or_none(file: PrivateFieldFile) -> str | None:
    try:
        return file.url
    except AccessDenied:
        return None


def _download(disposition: Disposition | None, filename: str | None) -> Any:
    return partial(Download, disposition=disposition, filename=filename)
