"""What docs/aws.md says of signatures is what the signers promise."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.storages import PrivateS3Storage
from providers import CloudFrontProvider, Download, S3Provider, StaticCredentials, Upload, UploadPart
from providers.types import Provider
from tests.providers.clouds import PEM, query_of

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "aws.md").read_text()
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
TTL = timedelta(minutes=5)
FULL = Download(
    "a/b", filename="a.txt", disposition="inline", content_type="text/plain", version="1",
    cache_control="private, max-age=60",
)  # fmt: skip


def rows_of(heading: str) -> dict[str, list[str]]:
    table = re.search(r"(?:^\|.*\|\n)+", PAGE.partition(f"## {heading}\n")[2], re.MULTILINE)
    assert table is not None
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()]
    return {first: others for first, *others in lines[2:]}


class TestTable:
    PROVIDERS: tuple[Provider, Provider] = (
        S3Provider(bucket="bucket", region="eu-central-1", credentials=StaticCredentials("AK", "SK")),
        PrivateS3Storage(
            bucket_name="bucket", region_name="eu-central-1", access_key="AK", secret_key="SK",
            custom_domain="files.example.com", cloudfront_key_id="K1", cloudfront_key=PEM,
        ).provider,
    )  # fmt: skip

    @pytest.mark.parametrize("column", [0, 1], ids=["s3", "cloudfront"])
    def test_says_what_the_capabilities_say(self, column: int) -> None:
        capabilities = self.PROVIDERS[column].capabilities
        told = {what: cells[column] for what, cells in rows_of("What the signature binds").items()}

        def said(value: bool, operation: type = Download) -> str:
            return "–" if operation not in capabilities.operations else "yes" if value else "no"

        checksums = ", ".join(sorted(capabilities.binds_checksum)) or "–"
        assert (
            told
            | {
                "method": said(capabilities.binds_method),
                "cache control of a download": said(capabilities.binds_cache_control),
                "size of an upload": said(capabilities.binds_size, Upload),
                "type of an upload": said(capabilities.binds_content_type, Upload),
                "checksum of an upload": checksums,
                "no overwriting": said(capabilities.binds_no_overwrite, Upload),
                "part of an upload": said(capabilities.binds_part, UploadPart),
            }
            == told
        )

    def test_the_parameters_it_names_stand_in_the_links(self) -> None:
        named = {
            name for cells in rows_of("What the signature binds").values() for name in re.findall("`(.*?)`", cells[2])
        }
        s3, cloudfront = (query_of(provider.sign(FULL, ttl=TTL, now=NOW)) for provider in self.PROVIDERS)
        answers = {"response-content-disposition", "response-content-type", "response-cache-control", "versionId"}
        assert {"X-Amz-Date", "X-Amz-Expires"} | answers <= s3.keys() & named
        assert {"Expires"} | answers <= cloudfront.keys() & named

    def test_an_address_is_bound_where_it_is_asked_for(self) -> None:
        assert isinstance(self.PROVIDERS[1], CloudFrontProvider)
        assert "Policy" not in query_of(self.PROVIDERS[1].sign(FULL, ttl=TTL, now=NOW))
