"""``storages.backends.azure_storage.AzureStorage`` made private: the SDK moves the bytes, our signer makes the links.

Must not let bytes and links go to two accounts, and never makes an unsigned link.
"""

from __future__ import annotations

import inspect
import io
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from tempfile import SpooledTemporaryFile
from typing import Any, ClassVar
from urllib.parse import urlsplit

from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.core.utils import parse_connection_string
from azure.storage.blob import BlobPrefix, BlobServiceClient
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.utils.module_loading import import_string
from storages.backends.azure_storage import AzureStorage, AzureStorageFile

from gateway.errors import InvalidRequest, ObjectExists
from gateway.storages.azure_objects import AzureObjects
from gateway.storages.base import (
    CLOUD_OPTION_TYPES,
    PrivateStorageMixin,
    exact,
    exact_directory,
    given_parameters,
    seconds,
)
from gateway.storages.relayed import RelayedParts
from providers.azure import AzureCredentials, AzureProvider, SharedKey
from providers.azure_delegation import ManagedIdentity, UserDelegation
from providers.errors import InvalidConfiguration
from providers.keys import key_error

__all__ = ["PrivateAzureStorage"]

# What generate_blob_sas() calls them, and what the other storages do.
_URL_PARAMETERS = {
    "content_disposition": "ResponseContentDisposition",
    "content_type": "ResponseContentType",
    "version_id": "VersionId",
}
_MAX_BACKDATE_SECONDS = 86_400
# The SDK's own would keep a request waiting for over a minute where the store does not answer.
_CLIENT_DEFAULTS = {"connection_timeout": 5, "retry_total": 2, "initial_backoff": 1, "increment_base": 2}

_building = threading.Lock()


def _forget_lock() -> None:
    # A thread of the parent process may hold it, and is not here to let go.
    global _building
    _building = threading.Lock()


os.register_at_fork(after_in_child=_forget_lock)


class PrivateAzureStorage(RelayedParts, PrivateStorageMixin, AzureStorage):  # type: ignore[misc]
    """A private container of Azure Blob Storage; every option of django-storages, and ours.

    Links are signed with ``account_key`` (given, or in ``connection_string``), or with a user delegation key
    that ``token_credential`` or ``managed_identity`` fetches when the first link needs it. Links of parts lead to
    the gateway, which sends them on as blocks.

    Args:
        endpoint_url: of the account's blob service, where it is not
            ``https://<account_name>.blob.<endpoint_suffix>``: a private endpoint, an emulator.
        public_endpoint_url: let links lead to the host that browsers see, while ``endpoint_url`` moves the
            bytes; ``custom_domain`` is the same by its host alone.
        token_credential: as in django-storages; also the dotted path of a class that needs no argument, such as
            ``azure.identity.DefaultAzureCredential``.
        managed_identity: True, or the client id of a user-assigned identity.
        backdate: seconds that links begin before they are signed, 0 to 86400. None leaves the start out, which an
            account with a SAS expiration policy does not take.
        ca_file: certificate authorities to trust, in PEM; None means the system's.

    Beside :class:`PrivateStorageMixin`'s. What would make a link unsigned, or signed for another account, is
    refused: ``sas_token``, two accounts, two credentials.
    """

    own_options: ClassVar[tuple[str, ...]] = (
        *PrivateStorageMixin.own_options,
        "endpoint_url",
        "public_endpoint_url",
        "managed_identity",
        "backdate",
        "ca_file",
    )
    option_types = CLOUD_OPTION_TYPES

    def configure(self, own: dict[str, Any]) -> None:
        said = _parts_of(self.connection_string)
        self.endpoint_url: str | None = own.get("endpoint_url") or said.get("BlobEndpoint", "").rstrip("/") or None
        self.public_endpoint_url: str | None = own.get("public_endpoint_url")
        self.managed_identity: bool | str = own.get("managed_identity") or False
        self.backdate: int | None = own.get("backdate")
        self.ca_file: str | None = own.get("ca_file")
        self.azure_ssl: bool = self.azure_ssl and said.get("DefaultEndpointsProtocol", "https") == "https"
        self.endpoint_suffix: str = said.get("EndpointSuffix", self.endpoint_suffix)
        if problem := self._problem(said):
            raise ImproperlyConfigured(problem)
        self._client_options = {**self.client_options}
        if self.expiration_secs is not None:
            self.default_ttl = seconds("expiration_secs", self.expiration_secs)
        self.token_credential = self._token_credential()
        self._connected: tuple[int, BlobServiceClient] | None = None
        self._provider: AzureProvider | None = None

    @property
    def account_url(self) -> str:
        """Where the bytes go: the account's blob service."""
        return self.endpoint_url or f"{self.azure_protocol}://{self.account_name}.blob.{self.endpoint_suffix}"

    @property
    def objects(self) -> AzureObjects:
        """The container, as uploads look at it."""
        return AzureObjects(self)

    @property
    def provider(self) -> AzureProvider:
        """The signer of this container, for the host that browsers see; one for all threads.

        Raises:
            InvalidConfiguration: it cannot be built; the message names the value.
        """
        if self._provider is None:
            with _building:
                if self._provider is None:
                    self._provider = self._build_provider()
        return self._provider

    def _build_provider(self) -> AzureProvider:
        if not self.account_name:
            raise InvalidConfiguration("account_name is empty; the account that links are signed for")
        return AzureProvider(
            account_name=self.account_name,
            container=self.azure_container,
            credentials=self._signing_credentials(),
            endpoint_url=self._public_url(),
            backdate=None if self.backdate is None else timedelta(seconds=self.backdate),
        )

    def _signing_credentials(self) -> AzureCredentials:
        if self.account_key:
            return SharedKey(self.account_key)
        if self.token_credential is None:
            raise InvalidConfiguration("account_key and token_credential are empty; links need one to sign with")
        return UserDelegation(
            account_name=self.account_name,
            token=self.token_credential,
            # Never the public host: a custom domain hands out no keys.
            endpoint_url=self.account_url,
            ca_file=self.ca_file,
        )

    def _public_url(self) -> str:
        if self.public_endpoint_url:
            return self.public_endpoint_url
        if not self.custom_domain:
            return self.account_url
        parts = urlsplit(self.account_url)
        return f"{parts.scheme}://{self.custom_domain}{parts.path}"

    # The SDK's client: one for all threads; a new one after a fork, which would share the parent's sockets.

    @property
    def service_client(self) -> BlobServiceClient:
        connected = self._connected
        if connected is None or connected[0] != os.getpid():
            with _building:
                connected = self._connected
                if connected is None or connected[0] != os.getpid():
                    connected = self._connected = (os.getpid(), self._get_service_client())
        return connected[1]

    @property
    def client(self) -> Any:
        return self.service_client.get_container_client(self.azure_container)

    def _get_service_client(self) -> BlobServiceClient:
        # Not from the connection string: what moves the bytes and what is signed come from the same values.
        credential: Any = self.token_credential
        if self.account_key:
            credential = {"account_name": self.account_name, "account_key": self.account_key}
        if credential is None:
            raise ImproperlyConfigured("account_key and token_credential are empty; a private storage needs one")
        options: dict[str, Any] = _CLIENT_DEFAULTS | {"read_timeout": self.timeout}
        if self.ca_file is not None:
            options["connection_verify"] = self.ca_file
        if self.api_version:
            options["api_version"] = self.api_version
        return BlobServiceClient(self.account_url, credential=credential, **options | self._client_options)

    def _token_credential(self) -> Any:
        if self.managed_identity:
            client_id = self.managed_identity if isinstance(self.managed_identity, str) else None
            return ManagedIdentity.from_environment(client_id=client_id)
        credential = self.token_credential
        if isinstance(credential, str):
            try:
                credential = import_string(credential)()
            except Exception as error:
                raise ImproperlyConfigured(
                    f"token_credential is {self.token_credential!r}, which cannot be made: {type(error).__name__}"
                ) from error
        if credential is None:
            return None
        get_token = getattr(credential, "get_token", None)
        if not callable(get_token) or inspect.iscoroutinefunction(get_token):
            raise ImproperlyConfigured(
                f"token_credential is of type {type(credential).__name__}; one with get_token(), and not of azure.*.aio"
            )
        return credential

    def _problem(self, said: Mapping[str, str]) -> str | None:
        signers = {
            "account_key": self.account_key,
            "token_credential": self.token_credential,
            "managed_identity": self.managed_identity,
        }
        given = [name for name, value in signers.items() if value]
        if not self.azure_container:
            return "azure_container is empty; the container that links are signed for"
        if self.sas_token or "SharedAccessSignature" in said:
            return "sas_token is set; no link can be signed with one, but with account_key or token_credential"
        if "UseDevelopmentStorage" in said:
            return "connection_string is UseDevelopmentStorage; write out the emulator's endpoint, account and key"
        for name, part in (("account_name", "AccountName"), ("account_key", "AccountKey")):
            if said.get(part, getattr(self, name)) != getattr(self, name):
                return f"{name} is another than that of connection_string; give one"
        if said.get("BlobEndpoint", "").rstrip("/") not in ("", self.endpoint_url):
            return "endpoint_url is another than that of connection_string; give one"
        if len(given) > 1:
            return f"{' and '.join(given)} are set; one of them signs"
        if not isinstance(self.managed_identity, bool | str):
            return f"managed_identity is {self.managed_identity!r}; True, or a client id"
        if self.custom_domain and self.public_endpoint_url:
            return "custom_domain and public_endpoint_url say the same; give one"
        if not isinstance(self.client_options, Mapping):
            return f"client_options are of type {type(self.client_options).__name__}; a mapping"
        if taken := {"account_url", "credential"} & set(self.client_options):
            return f"client_options hold {sorted(taken)}; bytes and links go to one account"
        if not self.azure_ssl and not self.endpoint_url:
            return "azure_ssl is False; Azure is spoken to over https alone"
        if self.backdate is not None and not (
            type(self.backdate) is int and 0 <= self.backdate <= _MAX_BACKDATE_SECONDS
        ):
            return f"backdate is {self.backdate!r}; whole seconds from 0 to {_MAX_BACKDATE_SECONDS}"
        if problem := key_error(f"{self.location.rstrip('/')}/k" if self.location else "k"):
            return f"location is {self.location!r}; its {problem}"
        if self.expiration_secs is not None and self.default_ttl is not None:
            return "expiration_secs and default_ttl say the same; give one"
        return None

    def _get_valid_path(self, name: str) -> str:
        # django-storages strips, cleans and joins; the permission was checked on this spelling.
        return self.object_key(name)

    def url(  # type: ignore[override]  # the order of arguments is django-storages', for Azure
        self,
        name: str | None,
        expire: int | None = None,
        parameters: Any = None,
        mode: str = "r",
    ) -> str:
        """Issue a link for a bare name, which ``GATEWAY["PATH_POLICIES"]`` must have a policy for.

        Args:
            name: as the database has it.
            expire: seconds.
            parameters: ``content_disposition``, ``content_type``, ``version_id``.
            mode: ``r``; uploads are signed elsewhere.

        Raises:
            AccessDenied, NoPrincipal, TTLTooLong: as :func:`gateway.links.issue`.
            InvalidRequest: a parameter or mode that cannot keep its meaning.
        """
        if mode != "r":
            raise InvalidRequest(f"mode is {mode!r}; r, uploads are signed elsewhere")
        given = given_parameters(parameters)
        if unknown := set(given) - set(_URL_PARAMETERS):
            raise InvalidRequest(f"parameters hold {sorted(unknown, key=str)}; only {', '.join(_URL_PARAMETERS)}")
        return super().url(name, {_URL_PARAMETERS[one]: value for one, value in given.items()}, expire)

    def _save(self, name: str, content: Any) -> str:
        if isinstance(getattr(content, "file", None), io.TextIOBase):
            # The SDK sends bytes alone.
            content.seek(0)
            content = ContentFile(content.read().encode(), name=content.name)
        try:
            return str(super()._save(exact(name), content))
        except HttpResponseError as error:
            if isinstance(error, ResourceExistsError) or error.status_code == 412:
                raise ObjectExists(f"the key {name!r} is taken; nothing was overwritten") from error
            raise

    # What is missing is said as Django's and the other storages say it.

    def _open(self, name: str, mode: str = "rb") -> _File:
        return _File(name, mode, self)

    def size(self, name: str) -> int:
        with _missing(name):
            return super().size(name)

    def get_modified_time(self, name: str) -> Any:
        with _missing(name):
            return super().get_modified_time(name)

    # django-storages lists the whole container where a location was given, and knows no directories.

    def listdir(self, path: str = "") -> tuple[list[str], list[str]]:
        start = self._start_of(path)
        directories: list[str] = []
        files: list[str] = []
        for item in self.client.walk_blobs(name_starts_with=start or None, timeout=self.timeout):
            (directories if isinstance(item, BlobPrefix) else files).append(item.name[len(start) :].rstrip("/"))
        return directories, files

    def list_all(self, path: str = "") -> list[str]:
        """Return the names of all files below a path, as :meth:`open` takes them."""
        own = self._start_of("")
        blobs = self.client.list_blob_names(name_starts_with=self._start_of(path) or None, timeout=self.timeout)
        return [name[len(own) :] for name in blobs]

    def _start_of(self, path: str) -> str:
        path = exact_directory(path)
        start = self.object_key(path) if path else self.location.strip("/")
        return f"{start}/" if start else ""


class _File(AzureStorageFile):  # type: ignore[misc]
    """As django-storages', but closes what it cannot fill, and says what is missing as Django does."""

    _file: Any

    def _get_file(self) -> Any:
        if self._file is None:
            file = SpooledTemporaryFile(max_size=self._storage.max_memory_size)  # noqa: SIM115  closed by close()
            try:
                if "w" not in self._mode:
                    with _missing(self.name):
                        self._storage.client.download_blob(self._path, timeout=self._storage.timeout).readinto(file)
            except BaseException:
                file.close()
                raise
            if "r" in self._mode:
                file.seek(0)
            self._file = file
        return self._file

    def _set_file(self, value: Any) -> None:
        super()._set_file(value)

    file = property(_get_file, _set_file)

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None


@contextmanager
def _missing(name: str) -> Iterator[None]:
    try:
        yield
    except ResourceNotFoundError as error:
        raise FileNotFoundError(f"there is no blob {name!r}") from error


def _parts_of(connection_string: Any) -> Mapping[str, str]:
    return parse_connection_string(connection_string, case_sensitive_keys=True) if connection_string else {}
