"""Uploads files of this machine in a user's name, straight to the store, and prints the reference of each.

Goes through the door like everybody: must not decide, and shows no link.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from gateway.errors import GatewayError
from gateway.management.arguments import whole_number
from gateway.management.base import GatewayCommand
from gateway.management.lookup import user_of
from gateway.principals import acting_as

MOST_PARALLEL = 32


class Command(GatewayCommand):
    help = "Upload files in a user's name, in parallel parts; run again, it goes on where it was interrupted."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("file", nargs="+", type=Path)
        parser.add_argument("--target", default="", help="app_label.model:pk:field that gets the file.")
        parser.add_argument(
            "--parallel", type=whole_number(MOST_PARALLEL), default=4, help="Parts at once. Default: 4."
        )

    def handle(self, *args: Any, username: str, file: list[Path], target: str, parallel: int, **options: Any) -> None:
        try:
            from tqdm import tqdm

            from gateway.uploads.sending import send_file
        except ImportError as error:
            raise CommandError(f"{error.name} is missing; install presign-gateway[put]") from error
        if target and len(file) > 1:
            raise CommandError(f"{len(file)} files for one field; 1")
        user = user_of(username)
        for path in file:
            try:
                if path.exists() and not path.is_file():
                    raise CommandError(f"{str(path)!a} is a directory or a device; a file")
                size_bytes = path.stat().st_size
                with (
                    acting_as(user) as principal,
                    tqdm(
                        total=size_bytes, desc=path.name, unit="B", unit_scale=True, unit_divisor=1024,
                        disable=not sys.stderr.isatty(),
                    ) as bar,
                ):  # fmt: skip
                    reference = send_file(principal, path, target=target, parallel=parallel, progress=bar.update)
            except GatewayError as error:
                raise CommandError(f"{str(path)!a}: {error.title}") from error
            except OSError as error:
                raise CommandError(f"{str(path)!a}: {error.strerror or type(error).__name__}") from error
            self.stdout.write(reference)
