"""Plan every variant and let checkov look at it: ``make scan``.

Only the checks that mean something here are chosen, and each has to pass at least once, for one that applies to
nothing passes by silence. Not chosen, with the reason: CKV_AWS_18, 144, 145, CKV2_AWS_62, CKV_GCP_62 and
CKV2_AZURE_1 (options, off unless asked for); CKV_AWS_7 (judges no planned key, whose kind is not known yet);
CKV_AZURE_35, 59 and CKV2_AZURE_33 (browsers talk to the account themselves); CKV_AZURE_33 (queues, of which there
are none); CKV_AZURE_206 (does not know ZRS); CKV2_AZURE_21 (wants a resource of the older kind of logs).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.terraform.commands import SCHEMAS, Terraform, copy_module
from tests.terraform.conftest import NEWEST
from tests.terraform.stub_provider import serve
from tests.terraform.variants import VARIANTS

CHOSEN = {
    "CKV_AWS_21",  # versions
    "CKV_AWS_53",  # public access, four ways
    "CKV_AWS_54",
    "CKV_AWS_55",
    "CKV_AWS_56",
    "CKV_AWS_60",  # who may become a role
    "CKV_AWS_61",
    "CKV_AWS_300",  # unfinished uploads
    "CKV2_AWS_6",
    "CKV2_AWS_61",  # lifecycle
    "CKV2_AWS_65",  # ownership
    "CKV_GCP_28",  # nobody is everybody
    "CKV_GCP_29",  # uniform access
    "CKV_GCP_78",  # versions
    "CKV_GCP_114",  # public access is prevented
    "CKV_AZURE_34",  # private containers
    "CKV_AZURE_44",  # TLS
    "CKV_AZURE_190",  # no public blobs
    "CKV_AZURE_244",  # no local users
    "CKV2_AZURE_38",  # soft delete
    "CKV2_AZURE_40",  # no shared keys
    "CKV2_AZURE_41",  # SAS policy
    "CKV2_AZURE_47",  # no anonymous access
}
# One guarantee for each cloud, weakened, and the check that has to see it.
WEAKENED = [
    ("aws", "main.tf", "block_public_acls       = true", "block_public_acls       = false", "CKV_AWS_53"),
    ("gcp", "main.tf", '"enforced"', '"inherited"', "CKV_GCP_114"),
    ("azure", "main.tf", "local_user_enabled                = false", "local_user_enabled = true", "CKV_AZURE_244"),
]


def main(checkov: str) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="presign-gateway-scan-") as name,
        serve([SCHEMAS / schema for schema in NEWEST]) as providers,
        Terraform(providers, Path(name)) as terraform,
    ):
        directory = Path(name)
        good, bad = directory / "good", directory / "bad"
        good.mkdir()
        bad.mkdir()
        for variant in VARIANTS:
            plan(terraform, variant, copied(variant, directory), good)
        passed, failed = scan(checkov, good)
        if failed or CHOSEN - passed:
            raise SystemExit(f"failed: {sorted(failed)}; never applied: {sorted(CHOSEN - passed)}")
        for variant, file, old, new, _ in WEAKENED:
            module = copied(variant, bad / "modules")
            text = (module / file).read_text()
            if old not in text:
                raise SystemExit(f"{file} of {variant} has no {old!r}")
            (module / file).write_text(text.replace(old, new))
            plan(terraform, variant, module, bad)
        _, found = scan(checkov, bad)
        if missed := {check for *_, check in WEAKENED} - found:
            raise SystemExit(f"weakened and not seen: {sorted(missed)}")
        print(f"{len(passed)} checks pass on {len(VARIANTS)} plans; {len(found)} see what is weaker")


def copied(variant: str, to: Path) -> Path:
    return copy_module(VARIANTS[variant][0], to / variant)


def plan(terraform: Terraform, variant: str, module: Path, to: Path) -> None:
    """Write a plan as JSON."""
    (module / "given.tfvars.json").write_text(json.dumps(VARIANTS[variant][1]))
    terraform.run(module, "plan", "-out=plan", "-input=false", "-var-file=given.tfvars.json")
    (to / f"{variant}.json").write_text(terraform.run(module, "show", "-json", "plan"))


def scan(checkov: str, plans: Path) -> tuple[set[str], set[str]]:
    """Return the checks that passed somewhere, and those that failed somewhere."""
    files = [part for path in sorted(plans.glob("*.json")) for part in ("--file", str(path))]
    command = [checkov, *files, "--framework=terraform_plan", "--skip-download", "--output=json"]
    done = subprocess.run(
        [*command, "--check", ",".join(sorted(CHOSEN))], capture_output=True, text=True, check=False, timeout=300
    )
    try:
        results = json.loads(done.stdout)["results"]
    except (KeyError, TypeError, ValueError):
        raise SystemExit(f"checkov said nothing of the plans: {done.stdout}{done.stderr}") from None
    passed, failed = ({each["check_id"] for each in results[f"{verdict}_checks"]} for verdict in ("passed", "failed"))
    return passed, failed


if __name__ == "__main__":
    main(sys.argv[1])
