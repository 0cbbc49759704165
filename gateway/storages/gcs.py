"""``storages.backends.gcloud.GoogleCloudStorage`` made private: the SDK moves the bytes, our signer makes the links.

Must not let the environment move a byte or a link, and never makes an unsigned one.
"""

from __future__ import annotations

import io
import json
import mimetypes
import os
import re
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from google.api_core.exceptions import PreconditionFailed
from google.auth.credentials import AnonymousCredentials, Credentials, with_scopes_if_required
from google.auth.crypt import RSASigner
from google.cloud.storage import Blob, Client
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2 import service_account
from storages.backends.gcloud import GoogleCloudFile, GoogleCloudStorage
from storages.utils import setting

from gateway.errors import InvalidRequest, ObjectExists
from gateway.storages.base import CLOUD_OPTION_TYPES, PrivateStorageMixin, exact, given_parameters, seconds
from gateway.storages.gcs_objects import GCSObjects
from providers.errors import InvalidConfiguration
from providers.gcs import GCSCredentials, GCSProvider, HMACKey, ServiceAccountKey, ServiceAccountSigner
from providers.google_iam import CLOUD_PLATFORM, GoogleCredentials, IAMSigner
from providers.keys import key_error

__all__ = ["PrivateGCSStorage"]

_ENDPOINT_URL = "https://storage.googleapis.com"
# In the words of the JSON API and of the XML API, both of which the SDK takes.
# https://cloud.google.com/storage/docs/access-control/lists#predefined-acl
_PUBLIC_ACLS = frozenset(
    {
        "authenticated-read",
        "authenticatedRead",
        "public-read",
        "public-read-write",
        "publicRead",
        "publicReadWrite",
    }
)
_CHUNK_BYTES = 256 * 2**10  # https://cloud.google.com/storage/docs/performing-resumable-uploads#chunked-upload
# Parameters of the SDK's generate_signed_url() that keep their meaning, as the mixin calls them.
_URL_PARAMETERS = {
    "response_disposition": "ResponseContentDisposition",
    "response_type": "ResponseContentType",
    "generation": "VersionId",
}

_GENERATION = re.compile(r"[0-9]{1,19}")

_connecting = threading.Lock()


def _forget_lock() -> None:
    # A thread of the parent process may hold it, and is not here to let go.
    global _connecting
    _connecting = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)


class PrivateGCSStorage(PrivateStorageMixin, GoogleCloudStorage):  # type: ignore[misc]
    """A private bucket of Google Cloud Storage; every option of django-storages, and ours.

    Links are signed by one of: ``service_account_key``; the HMAC key; IAM's signBlob, where ``signer_email``
    or ``iam_sign_blob`` asks for it; the key in ``credentials``, or in the file that
    ``GOOGLE_APPLICATION_CREDENTIALS`` names; and signBlob where none of these holds a key.

    Args:
        service_account_key: the content of Google's key file as a dict, or the file's path.
        hmac_access_id: of an HMAC key; it stands in every link.
        hmac_secret: of the same key.
        signer_email: sign as this service account, without a key; the tokens are those of ``credentials``.
        signer_delegates: accounts to go through to it, each with the role on the next.
        signer_tokens: a ``providers.TokenSource`` in place of ``credentials``.
        iam_endpoint_url: of the IAM Credentials API; None is Google's.
        endpoint_url: where the SDK moves the bytes, and links lead where no other address is given; None is
            Google's, whatever ``STORAGE_EMULATOR_HOST`` says.
        public_endpoint_url: sign for the host that browsers see.
        addressing_style: ``path``, as django-storages' links have it, or ``virtual``.
        resumable_uploads: let clients ask for a resumable session, which outlives every link: it is cancelled
            with its upload, and dies by itself after a week.

    Beside :class:`PrivateStorageMixin`'s. What would make a link unsigned or an object public is refused:
    ``querystring_auth=False``, public ACLs.
    """

    own_options: ClassVar[tuple[str, ...]] = (
        *PrivateStorageMixin.own_options,
        "service_account_key",
        "hmac_access_id",
        "hmac_secret",
        "signer_email",
        "signer_delegates",
        "signer_tokens",
        "iam_endpoint_url",
        "endpoint_url",
        "public_endpoint_url",
        "addressing_style",
        "resumable_uploads",
    )
    option_types = CLOUD_OPTION_TYPES

    def get_default_settings(self) -> dict[str, Any]:
        # Names are never used twice, so there is nothing that a save should replace; and a day is
        # django-storages' default lifetime, not ours.
        return {
            **super().get_default_settings(),
            "file_overwrite": setting("GS_FILE_OVERWRITE", False),
            "expiration": setting("GS_EXPIRATION", None),
        }

    def configure(self, own: dict[str, Any]) -> None:
        self.endpoint_url: str | None = own.get("endpoint_url")
        self.public_endpoint_url: str | None = own.get("public_endpoint_url")
        self.addressing_style: Any = own.get("addressing_style", "path")
        self.resumable_uploads: Any = own.get("resumable_uploads", False)
        self._own = own
        if problem := self._problem() or self._problem_of_signing():
            raise ImproperlyConfigured(problem)
        if self.expiration is not None:
            self.default_ttl = seconds("expiration", _whole_seconds(self.expiration))
        self._connected: tuple[int, Any] | None = None
        self._provider: GCSProvider | None = None

    @property
    def objects(self) -> GCSObjects:
        """The bucket, as uploads look at it."""
        return GCSObjects(self)

    @property
    def origin(self) -> str:
        """Where the SDK moves the bytes, without a slash at the end."""
        return (self.endpoint_url or _ENDPOINT_URL).rstrip("/")

    def public_session_url(self, url: str) -> str:
        """Return the URL of a resumable session at the host that browsers see.

        Raises:
            InvalidConfiguration: it is none of this bucket's.
        """
        path = f"/upload/storage/v1/b/{self.bucket_name}/o?"
        origin = self.origin
        query = url.removeprefix(origin + path)
        if query == url or not any(pair.startswith("upload_id=") and len(pair) > 10 for pair in query.split("&")):
            raise InvalidConfiguration("the store's answer is no session of the bucket at endpoint_url")
        return f"{(self.public_endpoint_url or origin).rstrip('/')}{path}{query}"

    @property
    def provider(self) -> GCSProvider:
        """The signer of this bucket, for the host that browsers see.

        Raises:
            InvalidConfiguration: it cannot be built; the message names the value.
        """
        if self._provider is None:
            # One for all threads: two would each fetch tokens, and each ask IAM for as much as is allowed.
            with _connecting:
                if self._provider is None:
                    self._provider = self._make_provider()
        return self._provider

    def _make_provider(self) -> GCSProvider:
        bound: str | None = self.custom_endpoint
        if bound and "://" not in bound:
            bound = f"https://{bound}"
        return GCSProvider(
            bucket=self.bucket_name,
            credentials=self._signer(),
            endpoint_url=bound or self.public_endpoint_url or self.endpoint_url,
            addressing_style="bound" if bound else self.addressing_style,
        )

    @property
    def client(self) -> Any:
        """The SDK's client: one for all threads; a new one after a fork, whose sockets are its own."""
        connected = self._connected
        if connected is None or connected[0] != os.getpid():
            with _connecting:
                connected = self._connected
                if connected is None or connected[0] != os.getpid():
                    connected = self._connected = (os.getpid(), self._connect())
        return connected[1]

    @property
    def bucket(self) -> Any:
        # django-storages keeps one for good, with the client of the process that it was made in.
        return self.client.bucket(self.bucket_name)

    def url(
        self,
        name: str | None,
        parameters: dict[str, Any] | None = None,
        expire: int | None = None,
        http_method: str | None = None,
    ) -> str:
        """Issue a link for a bare name, as :meth:`PrivateStorageMixin.url`.

        Args:
            parameters: ``expiration`` (timedelta, seconds or instant), ``method``, ``response_disposition``,
                ``response_type``, ``generation``, and ``version``, which can only be ``v4``.
        """
        given = given_parameters(parameters)
        if given.pop("version", "v4") != "v4":
            raise InvalidRequest("version is not v4; no other link can be held to an age")
        expiration, method = given.pop("expiration", None), given.pop("method", None)
        if expiration is not None and expire is not None:
            raise InvalidRequest("expiration and expire say the same; give one")
        if unknown := given.keys() - _URL_PARAMETERS:
            known = ("expiration", "method", *_URL_PARAMETERS, "version")
            raise InvalidRequest(f"parameters hold {sorted(unknown, key=str)}; only {', '.join(known)}")
        if (generation := given.get("generation")) is not None:
            # The SDK takes a number.
            if type(generation) is bool or not _GENERATION.fullmatch(str(generation)):
                raise InvalidRequest(f"generation is {generation!r}; a whole number")
            given["generation"] = str(generation)
        return super().url(
            name,
            {_URL_PARAMETERS[name]: value for name, value in given.items()},
            _whole_seconds(expiration) if expiration is not None else expire,
            http_method if method is None else method,
        )

    def get_created_time(self, name: str) -> Any:
        return super().get_created_time(exact(name))

    def _connect(self) -> Any:
        credentials = self.credentials
        if credentials is None and (info := self._key_info()) is not None:
            credentials = service_account.Credentials.from_service_account_info(info)  # type: ignore[no-untyped-call]
        return Client(
            project=self.project_id,
            credentials=credentials,
            # Said, or STORAGE_EMULATOR_HOST and API_ENDPOINT_OVERRIDE would send private bytes elsewhere.
            client_options={"api_endpoint": self.endpoint_url or _ENDPOINT_URL},
        )

    def _signer(self) -> GCSCredentials:
        if access_id := self._own.get("hmac_access_id"):
            return HMACKey(access_id, self._own["hmac_secret"])
        info = self._key_info()
        if info is None and not self._is_keyless:
            if isinstance(signer := getattr(self.credentials, "signer", None), RSASigner):
                return ServiceAccountSigner(client_email=self.credentials.signer_email, sign=signer.sign)
            if self.credentials is None:
                info = _key_of_environment()
        if info is not None:
            return ServiceAccountKey.from_info(info)
        if isinstance(self.credentials, AnonymousCredentials) and self._own.get("signer_tokens") is None:
            raise InvalidConfiguration("credentials are anonymous; links need a key, or tokens for signBlob")
        options = {"endpoint_url": url} if (url := self._own.get("iam_endpoint_url")) else {}
        return IAMSigner(
            service_account_email=self._own.get("signer_email") or self.sa_email or None,
            tokens=self._tokens(),
            delegates=self._own.get("signer_delegates") or (),
            **options,
        )

    def _tokens(self) -> Any:
        if (tokens := self._own.get("signer_tokens")) is not None:
            return tokens
        if self.credentials is None:
            return GoogleCredentials()
        scoped = with_scopes_if_required(self.credentials, [CLOUD_PLATFORM])  # type: ignore[no-untyped-call]
        return GoogleCredentials(scoped)

    @property
    def _is_keyless(self) -> bool:
        names = ("signer_email", "signer_delegates", "signer_tokens")
        return bool(self.iam_sign_blob or any(self._own.get(name) for name in names))

    def _key_info(self) -> Mapping[str, Any] | None:
        given = self._own.get("service_account_key")
        return _read_key(given) if isinstance(given, (str, Path)) else given

    def _problem(self) -> str | None:
        if not self.bucket_name:
            return "bucket_name is empty; the bucket that links are signed for"
        if not self.querystring_auth:
            return "querystring_auth is False; a private storage makes no unsigned link"
        # What object_parameters say is what a save sends; default_acl is only asked where they are silent.
        if (acl := self.object_parameters.get("acl") or self.default_acl) in _PUBLIC_ACLS:
            return f"the ACL is {acl!r}; a private storage writes no public object"
        if problem := key_error(f"{self.location.strip('/')}/k".lstrip("/")):
            return f"location is {self.location!r}; its {problem}"
        if self.addressing_style not in ("path", "virtual"):
            return f"addressing_style is {self.addressing_style!r}; path or virtual"
        if type(self.resumable_uploads) is not bool:
            return f"resumable_uploads is {self.resumable_uploads!r}; True or False"
        if self.custom_endpoint and self.public_endpoint_url:
            return "custom_endpoint and public_endpoint_url both say where links lead; give one"
        if self.blob_chunk_size is not None and (self.blob_chunk_size <= 0 or self.blob_chunk_size % _CHUNK_BYTES):
            return f"blob_chunk_size is {self.blob_chunk_size}; a multiple of {_CHUNK_BYTES}"
        if self.expiration is not None and self.default_ttl is not None:
            return "expiration and default_ttl say the same; give one"
        return None

    def _problem_of_signing(self) -> str | None:
        own = self._own
        if self.credentials is not None and not isinstance(self.credentials, Credentials):
            kind = type(self.credentials).__name__
            return f"credentials are of type {kind}; an object of google-auth, or give service_account_key"
        if bool(own.get("hmac_access_id")) != bool(own.get("hmac_secret")):
            return "of hmac_access_id and hmac_secret only one is set; a key has both"
        if own.get("signer_email") and self.sa_email:
            return "signer_email and sa_email say the same; give one"
        signers = {
            "service_account_key": own.get("service_account_key"),
            "hmac_access_id": own.get("hmac_access_id"),
            "signer_email": own.get("signer_email"),
            "iam_sign_blob": self.iam_sign_blob and not own.get("signer_email"),
        }
        if len(named := [name for name, value in signers.items() if value]) > 1:
            return f"{' and '.join(named)} are set; one of them signs"
        if named and named[0] in ("service_account_key", "hmac_access_id"):
            for name in ("signer_delegates", "signer_tokens", "iam_endpoint_url"):
                if own.get(name):
                    return f"{name} is set, and {named[0]} signs; it is for links without a key"
        return None

    def _normalize_name(self, name: str) -> str:
        return self.object_key(name) if name else str(super()._normalize_name(name))

    def _open(self, name: str, mode: str = "rb") -> Any:
        file = _PrivateFile(self.object_key(name), mode, self)
        if not file.blob:
            raise FileNotFoundError(f"there is no object {name!r}")
        return file

    def _save(self, name: str, content: Any) -> str:
        # Not django-storages' own, which asks for the object first, and replaces it.
        name = exact(name)
        key = self.object_key(name)
        guessed, encoding = mimetypes.guess_type(key)
        parameters: dict[str, Any] = dict(self.get_object_parameters(key))
        acl = parameters.pop("acl", self.default_acl)
        content_type = parameters.pop("content_type", guessed)
        if encoding:
            parameters.setdefault("content_encoding", encoding)
        if isinstance(getattr(content, "file", None), io.TextIOBase):
            # It is counted by its characters, and would be cut short by the bytes that are more.
            content.seek(0)
            content = ContentFile(content.read().encode(), name=content.name)
        size = getattr(content, "size", None)
        if self.gzip and content_type in self.gzip_content_types and "content_encoding" not in parameters:
            content, parameters["content_encoding"] = self._compress_content(content), "gzip"
            size = len(content.getbuffer())
        blob = Blob(key, self.bucket, chunk_size=self.blob_chunk_size)
        for field, value in parameters.items():
            setattr(blob, field, value)
        self.upload(blob, content, content_type=content_type, acl=acl, size=size)
        return name

    def upload(self, blob: Any, content: Any, *, content_type: str | None, acl: str | None, size: int | None) -> None:
        """Send an object whole; it takes no place of another unless ``file_overwrite`` says so.

        Raises:
            ObjectExists: the key is taken. So it is, too, where an earlier try did arrive, and its answer did not.
        """
        if acl in _PUBLIC_ACLS:
            raise ImproperlyConfigured(f"the ACL is {acl!r}; a private storage writes no public object")
        try:
            blob.upload_from_file(
                content,
                rewind=content.seekable(),
                size=size,
                content_type=content_type,
                predefined_acl=acl,
                retry=DEFAULT_RETRY,
                if_generation_match=None if self.file_overwrite else 0,
            )
        except PreconditionFailed as error:
            raise ObjectExists(f"the key {blob.name!r} is taken; nothing was overwritten") from error


class _PrivateFile(GoogleCloudFile):  # type: ignore[misc]
    """An object that is read or written; one that is written is not asked for first, and not replaced."""

    def __init__(self, key: str, mode: str, storage: PrivateGCSStorage) -> None:
        if "w" not in mode:
            super().__init__(key, mode, storage)
            return
        self.name, self._mode, self._storage = key, mode, storage
        self.mime_type, self.mime_encoding = mimetypes.guess_type(key)
        self.blob = Blob(key, storage.bucket, chunk_size=storage.blob_chunk_size)
        self._file, self._is_dirty = None, False

    def close(self) -> None:
        try:
            if self._file is not None and self._is_dirty:
                self._is_dirty = False
                acl = self._storage.get_object_parameters(self.name).get("acl", self._storage.default_acl)
                self._storage.upload(self.blob, self.file, content_type=self.mime_type, acl=acl, size=None)
        finally:
            super().close()


def _whole_seconds(expiration: Any) -> Any:
    """Return what the SDK takes as a lifetime in seconds; what is none is left as it is, and refused later."""
    if isinstance(expiration, datetime):
        # The SDK takes one without a zone as UTC.
        end = expiration if expiration.tzinfo is not None else expiration.replace(tzinfo=UTC)
        return int((end - datetime.now(UTC)).total_seconds())
    if isinstance(expiration, timedelta) and not expiration % timedelta(seconds=1):
        return expiration // timedelta(seconds=1)
    return expiration


def _read_key(path: str | Path) -> Mapping[str, Any]:
    try:
        info = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InvalidConfiguration(f"the key file {str(path)!r} cannot be read: {type(error).__name__}") from None
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise InvalidConfiguration(f"the key file {str(path)!r} is no JSON object")
    return info


def _key_of_environment() -> Mapping[str, Any] | None:
    """Return the service account's key that Google's own libraries would find; other kinds hold none."""
    path = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    info = _read_key(path) if path else {}
    return info if info.get("type") == "service_account" else None
