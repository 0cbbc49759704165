"""For the tests of a project: who asks, who may, how many links there were, a storage, and a guard of caches.

Works with TestCase, TransactionTestCase and RequestFactory, and needs no test framework. Must not be imported by
code that is not a test.
"""

from __future__ import annotations

import gzip
import os
import pickle
import re
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import wraps
from pathlib import Path
from typing import Any, Self

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends import signed_cookies
from django.contrib.sessions.backends.base import SessionBase
from django.core.cache.backends.base import BaseCache
from django.db import router
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.utils.module_loading import import_string

from gateway import audit
from gateway.conf import conf
from gateway.counting import counted as counted_serving
from gateway.errors import Unavailable
from gateway.links import LinkText, choosing
from gateway.models import Issuance
from gateway.policies import OPERATIONS, Everyone
from gateway.principals import ambient_lease, close_lease, open_lease
from gateway.storages.base import PrivateStorageMixin
from gateway.storages.filesystem import PrivateFileSystemStorage
from providers.types import SignedURL

__all__ = [
    "InMemoryPrivateStorage",
    "LinkKept",
    "allow_all",
    "as_user",
    "assert_issued",
    "counted_serving",
    "in_memory",
    "no_links_in_caches",
]


# Who asks, who may, what was issued.


class as_user:  # noqa: N801  (used as a function: with as_user(user):)
    """Ask as a request of this user does, where no middleware makes it: for RequestFactory, and for models alone.

    Links are remembered and recorded as in a request; the audit is written when the block ends. In a coroutine it is
    ``async with``. The test client needs none of this: it passes the middleware, and ``client.force_login(user)``
    says who asks.

    Args:
        user: a Django user; None is nobody in particular.
        request: of a RequestFactory; its ``user`` is set. Yielded, and made where there is none.
    """

    def __init__(self, user: Any, request: HttpRequest | None = None) -> None:
        self._request = RequestFactory().get("/") if request is None else request
        self._request.user = AnonymousUser() if user is None else user

    def __enter__(self) -> HttpRequest:
        self._lease, self._token = open_lease(self._request)
        return self._request

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        close_lease(self._lease, self._token)
        _write(self._lease.pending, has_failed=kind is not None)

    async def __aenter__(self) -> HttpRequest:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        close_lease(self._lease, self._token)
        await sync_to_async(_write)(self._lease.pending, has_failed=kind is not None)


def _write(rows: list[Issuance], *, has_failed: bool) -> None:
    # A transaction that an error broke takes no rows; the error is what the test is to see.
    with suppress(Unavailable) if has_failed else nullcontext():
        audit.write(rows)


@contextmanager
def allow_all() -> Iterator[None]:
    """Put a policy that allows everything in the place of all others, in every thread.

    Somebody still has to ask, active and of the row's tenant, and the row has to be there: what is not a policy's
    to decide stays.
    """
    before = choosing.choose
    everything = Everyone(operations=OPERATIONS)
    choosing.choose = lambda resource: everything
    try:
        yield
    finally:
        choosing.choose = before


class assert_issued:  # noqa: N801  (as above)
    """Fail unless the block issues so many links; what it issued is in the list when the block is over.

    Refusals, and permissions that were asked for without a link, do not count. It asks the database before and after
    the block: ``assertNumQueries()`` stands inside. In a coroutine it is ``async with``.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._rows: list[Issuance] = []

    def __enter__(self) -> list[Issuance]:
        self._known = {row.pk for row in _issued()}
        return self._rows

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._compare()

    async def __aenter__(self) -> list[Issuance]:
        return await sync_to_async(self.__enter__)()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await sync_to_async(self._compare)()

    def _compare(self) -> None:
        self._rows += [row for row in _issued() if row.pk not in self._known]
        if len(self._rows) != self._number:
            said = "".join(f"\n  {row}" for row in self._rows)
            raise AssertionError(
                f"{len(self._rows)} links were issued; {self._number} expected{':' if said else ''}{said}"
            )


def _issued() -> list[Issuance]:
    using = conf().audit_database or router.db_for_write(Issuance)
    lease = ambient_lease()
    waiting = [] if lease is None else [row for row in lease.pending if row.decision == Issuance.Decision.ISSUED]
    return [*Issuance.objects.using(using).filter(decision=Issuance.Decision.ISSUED).order_by("at"), *waiting]


# A storage.


class InMemoryPrivateStorage(PrivateFileSystemStorage):
    """A private storage that is empty at first and leaves nothing behind; ``client.get(url)`` fetches its links.

    Its files are in the memory of the machine where that has a file system, else in a temporary directory. Every
    option of private storages is taken; keys for its links are made for it, whatever ``SECRET_KEY`` is.
    """

    def __init__(self, **options: Any) -> None:
        root = Path("/dev/shm")  # noqa: S108  (only a directory of its own is made there)
        memory = root if root.is_dir() and os.access(root, os.W_OK) else None
        location = tempfile.mkdtemp(prefix="gateway-", dir=memory)
        weakref.finalize(self, _remove, location, os.getpid())
        super().__init__(location=location, **{"secret_keys": [secrets.token_urlsafe(32)]} | options)


def _remove(location: str, process: int) -> None:
    # A child of the process that made it has a copy of this, too.
    if os.getpid() == process:
        shutil.rmtree(location, ignore_errors=True)


def in_memory(storages: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return ``STORAGES`` with every private alias in memory: ``override_settings(STORAGES=in_memory())``.

    Args:
        storages: in place of ``settings.STORAGES``.
    """
    entries = settings.STORAGES if storages is None else storages
    return {alias: _in_memory(entry) for alias, entry in entries.items()}


def _in_memory(entry: Any) -> Any:
    if not issubclass(import_string(entry["BACKEND"]), PrivateStorageMixin):
        return entry
    given = entry.get("OPTIONS", {})
    options = {name: given[name] for name in PrivateStorageMixin.own_options if name in given}
    return {"BACKEND": "gateway.testing.InMemoryPrivateStorage", "OPTIONS": options}


# A guard.


class LinkKept(AssertionError):
    """A presigned link was put where it outlives its request: whoever finds it there may have the file."""


_CACHE_METHODS = ("set", "add", "set_many", "get_or_set", "aset", "aadd", "aset_many", "aget_or_set")
# A signature in a query, as it is and as HTML, JSON or another query spell it; and one in the fields of a form.
_SIGNATURE = re.compile(
    rb"(?:[?&;]|%(?:25)*(?:26|3f)|\\u0026)(?:x-(?:amz|goog)-signature|signature|sig)(?:=|%(?:25)*3d|\\u003d)[\w%+/~-]{8}"
    rb"|x-(?:amz|goog)-signature[^0-9a-f]{1,12}[0-9a-f]{64}",
    re.IGNORECASE,
)


@contextmanager
def no_links_in_caches() -> Iterator[None]:
    """Fail whatever puts a presigned link into one of Django's caches or sessions, where it is written.

    Raises:
        LinkKept: there, and again when the block ends, in case the code between took it for an error of its own.
    """
    kept: list[LinkKept] = []
    with _Patches() as patches:

        def refuse(where: str, what: object) -> None:
            if _holds_link(what):
                kept.append(
                    LinkKept(f"{where} was given a presigned link; a page or value that is kept has the permalink")
                )
                raise kept[-1]

        def guard_cache(backend: type) -> None:
            for cls in backend.__mro__:
                for name in _CACHE_METHODS:
                    patches.wrap(cls, name, lambda self, *args, **kwargs: refuse(type(self).__name__, (args, kwargs)))

        def guard_new_cache(self: Any, *args: Any, **kwargs: Any) -> None:
            guard_cache(type(self))

        for backend in _subclasses(BaseCache):
            guard_cache(backend)
        # A backend that a test is the first to use.
        patches.wrap(BaseCache, "__init__", guard_new_cache)
        patches.wrap(SessionBase, "encode", lambda self, *args, **kwargs: refuse("a session", (args, kwargs)))
        patches.wrap(signed_cookies.SessionStore, "_get_session_key", lambda self: refuse("a session", self._session))
        yield
    if kept:
        raise kept[0]


class _Patches:
    """Functions that are called before methods, until the block ends."""

    def __init__(self) -> None:
        self._before: dict[tuple[type, str], Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for (cls, name), method in self._before.items():
            setattr(cls, name, method)

    def wrap(self, cls: type, name: str, look: Callable[..., None]) -> None:
        method = cls.__dict__.get(name)
        if method is None or (cls, name) in self._before:
            return

        @wraps(method)
        def looked_at(self: Any, *args: Any, **kwargs: Any) -> Any:
            look(self, *args, **kwargs)
            return method(self, *args, **kwargs)

        self._before[cls, name] = method
        # Who calls it may ask what it is.
        setattr(cls, name, markcoroutinefunction(looked_at) if iscoroutinefunction(method) else looked_at)


def _subclasses(cls: type) -> Iterator[type]:
    below: type
    for below in cls.__subclasses__():
        yield below
        yield from _subclasses(below)


def _holds_link(value: object) -> bool:
    """Tell whether a value holds a link, anywhere in it: it is looked at as it would be stored."""
    match value:
        case LinkText() | SignedURL():
            return True
        case HttpResponse() if value.headers.get("Content-Encoding") == "gzip":
            return bool(_SIGNATURE.search(gzip.decompress(value.content)))
        case Mapping():
            # As a whole, too: the fields of an upload form are a name beside a value.
            return any(map(_holds_link, value.items())) or _in_pickle(dict(value))
        case list() | tuple():
            return any(map(_holds_link, value)) or _in_pickle(value)
    return _in_pickle(value)


def _in_pickle(value: object) -> bool:
    try:
        return bool(_SIGNATURE.search(pickle.dumps(value)))
    except Exception as error:
        # LinkText refuses; what else cannot be pickled, no cache that keeps anything can take.
        return "bearer credential" in str(error)
