"""Record how the real aws provider renders the module's policies: ``python -m tests.terraform.rendered``.

Needs a mirror with the provider; without one a test compares our rendering to what was recorded.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.terraform.commands import Terraform, copy_module, mirror_of_aws
from tests.terraform.variants import VARIANTS

RECORDED = Path(__file__).with_name("rendered.json")
PROVIDER = """
provider "aws" {
  region                      = "eu-west-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}
"""


def variables() -> dict[str, Any]:
    """Return variables with every option whose policies a plan knows wholly."""
    given = dict(VARIANTS["aws-everything"][1])
    # The ARN of a distribution is not known before there is one.
    del given["cloudfront"]
    return given


def rendered_by_provider(mirror: Path, home: Path) -> dict[str, Any]:
    """Plan the module with the real provider, and return each policy document by its address."""
    module = copy_module("aws-s3", home)
    (module / "provider.tf").write_text(PROVIDER)
    (module / "given.tfvars.json").write_text(json.dumps(variables()))
    with Terraform({}, home) as terraform:
        terraform.run(module, "init", f"-plugin-dir={mirror}")
        terraform.run(module, "plan", "-out=plan", "-input=false", "-var-file=given.tfvars.json")
        state = json.loads(terraform.run(module, "show", "-json", "plan"))["prior_state"]["values"]["root_module"]
    return {
        each["address"]: json.loads(each["values"]["json"])
        for each in state["resources"]
        if each["type"] == "aws_iam_policy_document"
    }


def main() -> None:
    mirror = mirror_of_aws()
    if mirror is None:
        raise SystemExit("no mirror with the aws provider; TF_PLUGIN_DIR names one")
    with tempfile.TemporaryDirectory(prefix="presign-gateway-rendered-") as home:
        found = rendered_by_provider(mirror, Path(home))
    RECORDED.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
