"""The server that stands for Cloud Storage: it takes what Google's own library signs, and nothing a bit beside it."""

from __future__ import annotations

import base64
import hashlib
import random
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import google_crc32c
import pytest
from google.api_core.exceptions import Forbidden, PreconditionFailed
from google.auth.exceptions import RefreshError
from google.cloud import storage
from google.oauth2 import credentials, service_account

from providers import Download, GCSProvider, HMACKey, ServiceAccountKey, Upload
from tests.emulators.gcs import CloudStorage
from tests.emulators.s3 import Response, send

CONTENT = bytes(range(256)) * 4
KEY = "a b/ü+%20.txt"
MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def bucket_name(gcs: CloudStorage) -> str:
    return gcs.create_bucket(f"bucket-{secrets.token_hex(6)}")


@pytest.fixture(scope="module")
def client(gcs: CloudStorage) -> Iterator[Any]:
    key = service_account.Credentials.from_service_account_info(gcs.service_account_info())
    with storage.Client(project="p", credentials=key, client_options={"api_endpoint": gcs.endpoint_url}) as client:
        yield client


@pytest.fixture
def bucket(gcs: CloudStorage, client: Any, bucket_name: str) -> Any:
    gcs.objects.write(bucket_name, KEY, CONTENT)
    return client.bucket(bucket_name)


def sdk_link(gcs: CloudStorage, bucket: Any, key: str = KEY, **options: Any) -> str:
    """Have Google's library sign."""
    given = {"version": "v4", "expiration": 60, "api_access_endpoint": gcs.endpoint_url} | options
    return str(bucket.blob(key).generate_signed_url(**given))


class TestWhatTheLibrarySignsIsTaken:
    def test_get(self, gcs: CloudStorage, bucket: Any) -> None:
        answer = send(sdk_link(gcs, bucket))
        assert (answer.status, answer.body) == (200, CONTENT)
        assert answer.headers["x-goog-hash"].startswith("crc32c=")

    def test_head(self, gcs: CloudStorage, bucket: Any) -> None:
        answer = send(sdk_link(gcs, bucket, method="HEAD"), method="HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["content-length"] == str(len(CONTENT))

    def test_a_type_and_a_disposition(self, gcs: CloudStorage, bucket: Any) -> None:
        asked = {"response_type": "image/png", "response_disposition": 'attachment; filename="a b.png"'}
        answer = send(sdk_link(gcs, bucket, **asked))
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["content-disposition"] == asked["response_disposition"]

    def test_put_with_everything_bound(self, gcs: CloudStorage, bucket: Any) -> None:
        key, body = secrets.token_hex(4), b"four"
        headers = {"x-goog-if-generation-match": "0", "x-goog-content-length-range": "4,4"}
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        url = sdk_link(gcs, bucket, key, method="PUT", content_type="a/b", content_md5=digest, headers=headers)
        sent = headers | {"Content-Type": "a/b", "Content-MD5": digest}
        assert send(url, method="PUT", headers=sent, body=body).status == 200
        assert bucket.get_blob(key).content_type == "a/b"
        assert send(url, method="PUT", headers=sent, body=body).status == 412

    def test_a_generation(self, gcs: CloudStorage, bucket: Any) -> None:
        generation = bucket.get_blob(KEY).generation
        assert send(sdk_link(gcs, bucket, generation=generation)).body == CONTENT
        assert send(sdk_link(gcs, bucket, generation=generation + 1)).status == 404

    def test_a_form(self, gcs: CloudStorage, client: Any, bucket: Any) -> None:
        key = secrets.token_hex(4)
        policy = client.generate_signed_post_policy_v4(
            bucket.name, key, MINUTE, conditions=[["content-length-range", 1, 4]], fields={"Content-Type": "a/b"}
        )
        assert post(gcs, bucket.name, policy["fields"], b"more than four").status == 400
        assert post(gcs, bucket.name, policy["fields"] | {"key": key + "x"}, b"four").status == 403
        assert post(gcs, bucket.name, policy["fields"], b"four").status == 204
        assert bucket.get_blob(key).content_type == "a/b"

    def test_its_uploads_downloads_and_deletions(self, bucket: Any) -> None:
        for size in (0, 1000, 9 * 2**20):
            blob, content = bucket.blob(secrets.token_hex(4)), secrets.token_bytes(size)
            blob.upload_from_string(content, if_generation_match=0)
            with pytest.raises(PreconditionFailed):
                blob.upload_from_string(b"other", if_generation_match=0)
            assert blob.download_as_bytes() == content
            blob.delete()
            assert bucket.get_blob(blob.name) is None


def post(gcs: CloudStorage, bucket: str, fields: dict[str, str], body: bytes) -> Response:
    parts = b"".join(
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    )
    parts += b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n' + body + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    return send(f"{gcs.endpoint_url}/{bucket}/", method="POST", headers=headers, body=parts)


class TestOtherRequestsAreRefused:
    def test_one_bit_beside_what_was_signed(self, gcs: CloudStorage, bucket: Any) -> None:
        url = sdk_link(gcs, bucket, response_disposition="attachment")
        assert send(url).status == 200
        start = len(gcs.endpoint_url) + 1
        dice = random.Random(7)  # a bit of each character, the same in every run
        for at in range(start, len(url)):
            mutant = chr(ord(url[at]) ^ (1 << dice.randrange(7)))
            if not "!" <= mutant <= "~" or mutant == "#":
                continue  # no client sends it
            answer = send(url[:at] + mutant + url[at + 1 :])
            assert answer.status in (400, 403), (at, mutant)
            assert CONTENT not in answer.body

    @pytest.mark.parametrize(
        ("reason", "status", "options", "changes"),
        [
            pytest.param("signature", 403, {}, {"method": "HEAD"}, id="another-method"),
            pytest.param("signature", 403, {}, {"headers": {"Host": "evil.example"}}, id="another-host"),
            pytest.param("signature", 403, {"method": "PUT", "content_type": "a/b"},
                         {"method": "PUT", "headers": {"Content-Type": "c/d"}, "body": b""}, id="another-type"),
            pytest.param("missing_header", 400, {"method": "PUT", "content_type": "a/b"},
                         {"method": "PUT", "body": b""}, id="a-header-left-out"),
            pytest.param("unsigned_header", 403, {"method": "PUT"},
                         {"method": "PUT", "headers": {"x-goog-meta-a": "b"}, "body": b""}, id="a-header-added"),
            pytest.param("content_length", 400,
                         {"method": "PUT", "headers": {"x-goog-content-length-range": "1,2"}},
                         {"method": "PUT", "headers": {"x-goog-content-length-range": "1,2"}, "body": b"tri"},
                         id="too-long"),
            pytest.param("BadDigest", 400, {"method": "PUT", "headers": {"x-goog-hash": "crc32c=AAAAAA=="}},
                         {"method": "PUT", "headers": {"x-goog-hash": "crc32c=AAAAAA=="}, "body": b"tri"},
                         id="other-bytes"),
            pytest.param("PreconditionFailed", 412, {"method": "PUT", "headers": {"x-goog-if-generation-match": "0"}},
                         {"method": "PUT", "headers": {"x-goog-if-generation-match": "0"}, "body": b"tri"},
                         id="a-taken-key"),
        ],
    )  # fmt: skip
    def test_with_a_reason(
        self, gcs: CloudStorage, bucket: Any, reason: str, status: int, options: Any, changes: Any
    ) -> None:
        assert send(sdk_link(gcs, bucket, **options), **changes).status == status
        assert gcs.refusals[-1] == reason
        assert bucket.blob(KEY).download_as_bytes() == CONTENT

    @pytest.mark.parametrize("credentials", ["rsa", "hmac"])
    def test_when_the_time_is_over_or_the_key_revoked(
        self, gcs: CloudStorage, bucket: Any, bucket_name: str, credentials: str
    ) -> None:
        identity = {"rsa": gcs.email, "hmac": gcs.access_id}[credentials]
        key: Any = ServiceAccountKey.from_info(gcs.service_account_info())
        key = key if credentials == "rsa" else HMACKey(gcs.access_id, gcs.secret)
        provider = GCSProvider(
            bucket=bucket_name, credentials=key, endpoint_url=gcs.endpoint_url, addressing_style="path"
        )
        link = provider.sign(Download(KEY), ttl=MINUTE, now=datetime.now(UTC)).url
        assert send(link).status == 200
        for offset, status in ((timedelta(seconds=61), 400), (timedelta(minutes=-16), 403)):
            gcs.clock_offset = offset
            try:
                assert send(link).status == status
            finally:
                gcs.clock_offset = timedelta(0)
        known = gcs.identities.pop(identity)
        try:
            assert send(link).status == 403
        finally:
            gcs.identities[identity] = known
        assert send(link).status == 200

    def test_a_checksum_that_the_library_does_not_sign(self, gcs: CloudStorage, bucket: Any, bucket_name: str) -> None:
        digest = base64.b64encode(google_crc32c.Checksum(b"one").digest()).decode()
        headers = {"x-goog-hash": f"crc32c={digest}"}
        url = sdk_link(gcs, bucket, "hashed", method="PUT", headers=headers)
        assert send(url, method="PUT", headers=headers, body=b"two").status == 400
        assert send(url, method="PUT", headers=headers, body=b"one").status == 200

    def test_an_unsigned_one(self, gcs: CloudStorage, bucket: Any) -> None:
        for method in ("GET", "PUT", "DELETE"):
            assert send(f"{gcs.endpoint_url}/{bucket.name}/{quote(KEY)}", method=method).status == 403
        assert bucket.get_blob(KEY) is not None

    def test_a_token_that_is_none_or_may_not(self, gcs: CloudStorage, bucket_name: str) -> None:
        for token, error in (("nonsense", RefreshError), (gcs.new_token("create"), Forbidden)):
            options = {"api_endpoint": gcs.endpoint_url}
            with storage.Client("p", credentials.Credentials(token), client_options=options) as client:
                bucket = client.bucket(bucket_name)
                for ask in (bucket.get_blob, bucket.delete_blob):
                    with pytest.raises(error):
                        ask(KEY)
                if error is Forbidden:
                    bucket.blob(secrets.token_hex(4)).upload_from_string(b"x")

    def test_an_assertion_of_another_key(self, gcs: CloudStorage) -> None:
        answer = send(f"{gcs.endpoint_url}/token", method="POST", body=b"assertion=e30.e30.AAAA")
        assert answer.status == 400


def test_an_upload_is_what_our_provider_says(gcs: CloudStorage, bucket: Any, bucket_name: str) -> None:
    provider = GCSProvider(
        bucket=bucket_name, credentials=HMACKey(gcs.access_id, gcs.secret), endpoint_url=gcs.endpoint_url,
        addressing_style="path",
    )  # fmt: skip
    upload = Upload(secrets.token_hex(4), content_type="a/b", size_bytes=4)
    link = provider.sign(upload, ttl=MINUTE, now=datetime.now(UTC))
    assert send(link.url, method="PUT", headers=link.headers, body=b"four").status == 200
    assert gcs.objects.read(bucket_name, upload.key) == b"four"
