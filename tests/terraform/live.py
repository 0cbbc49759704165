"""Apply the module of Amazon S3 for real, to moto: ``make slow``.

    python -m tests.terraform.live

The provider is the real one: from a mirror on this machine, else downloaded as a user's would be. moto judges
neither signatures nor policies, so this must not be the proof of a link: it shows that what is planned can be
made, made twice without a change, used from the output alone, and taken away.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.emulators.moto import MotoServer
from tests.emulators.s3 import send
from tests.terraform.commands import Terraform, copy_module, mirror_of_aws

REGION = "eu-west-1"  # moto takes a bucket of us-east-1 for something else
ORIGIN = "https://files.example.com"
BODY = b"applied, uploaded, fetched\n"
APPLY = ("-auto-approve", "-input=false", "-no-color")

ROOT_MODULE = """
terraform {{
  required_providers {{
    aws = {{ source = "hashicorp/aws" }}
  }}
}}

provider "aws" {{
  region                      = "{region}"
  access_key                  = "{access_key}"
  secret_key                  = "{secret_key}"
  s3_use_path_style           = true
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  max_retries                 = 2

  endpoints {{
    iam = "{endpoint}"
    s3  = "{endpoint}"
    sts = "{endpoint}"
  }}
}}

module "files" {{
  source = "./aws-s3"

  name          = "live-private-files"
  cors          = {{ allowed_origins = ["{origin}"] }}
  signer        = {{ trusted_services = ["ecs-tasks.amazonaws.com"] }}
  sweeper       = {{ trusted_services = ["ecs-tasks.amazonaws.com"] }}
  emulator      = true
  force_destroy = true
}}

output "storages" {{
  value = {{ private = module.files.settings }}
}}
"""


def main() -> None:
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="presign-gateway-live-"))
        moto = stack.enter_context(MotoServer())
        directory = Path(name)
        copy_module("aws-s3", directory)
        (directory / "main.tf").write_text(
            ROOT_MODULE.format(
                region=REGION,
                access_key=moto.access_key_id,
                secret_key=moto.secret_access_key,
                endpoint=moto.endpoint_url,
                origin=ORIGIN,
            )
        )
        mirror = mirror_of_aws()
        download = {} if mirror else {"HTTPS_PROXY": os.environ.get("HTTPS_PROXY", "")}
        terraform = stack.enter_context(Terraform({}, directory, download))
        with step("init"):
            terraform.run(directory, "init", *([f"-plugin-dir={mirror}"] if mirror else []))
        with step("apply"):
            terraform.run(directory, "apply", *APPLY)
        with step("a second plan is empty"):
            # Its exit status would be 2 with changes.
            terraform.run(directory, "plan", "-detailed-exitcode", "-input=false", "-no-color")
        path = directory / "storages.json"
        path.write_text(terraform.run(directory, "output", "-json", "storages"))
        with step("PUT, GET, preflight from the output alone"):
            use(path, moto)
        with step("destroy"):
            terraform.run(directory, "destroy", *APPLY)
        buckets = moto.client().list_buckets()["Buckets"]
        if buckets:
            raise AssertionError(f"{len(buckets)} buckets are left; none")


def use(path: Path, moto: MotoServer) -> None:
    """Upload, fetch and ask for CORS with links of a storage that the file describes, and look at the bucket."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings.test")
    import django

    django.setup()
    from gateway.doctor import Visit
    from gateway.doctor.s3_settings import examine_settings
    from gateway.storages import PrivateS3Storage
    from providers.types import Download, Upload
    from settings.stores import read_storages

    options = read_storages(str(path), max_ttl_seconds=900)["private"]["OPTIONS"]
    # Where the emulator is, and who this is: the only things that the output cannot know.
    here = {"endpoint_url": moto.endpoint_url, "access_key": moto.access_key_id, "secret_key": moto.secret_access_key}
    storage: Any = PrivateS3Storage(**options, **here, alias="private")
    lifetime: dict[str, Any] = {"ttl": timedelta(seconds=60), "now": datetime.now(UTC)}
    key = "uploads/2026/live.txt"
    upload = storage.provider.sign(Upload(key, content_type="text/plain", size_bytes=len(BODY)), **lifetime)
    preflight = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type,if-none-match",
    }
    asked = send(upload.url, method="OPTIONS", headers=preflight)
    expect(asked.status == 200 and asked.headers["access-control-allow-origin"] == ORIGIN, "the preflight")
    expect(send(upload.url, method="PUT", headers=dict(upload.headers), body=BODY).status == 200, "the upload")
    expect(send(storage.provider.sign(Download(key), **lifetime).url).body == BODY, "the download")
    faults = [one.check for one in examine_settings(Visit("private", storage)) if one.verdict == "fail"]
    expect(not faults, f"the bucket's settings: {faults}")


def expect(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(f"{what} did not work")


@contextmanager
def step(name: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{name}: {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
