"""What all commands of the gateway do alike: what is expected to fail is one line and a status.

Must not swallow a fault of the code: an error that nobody expected goes up as it is.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError

from gateway.errors import GatewayError
from providers.errors import ProviderError

__all__ = ["GatewayCommand"]

# As shells have it: 128 and the number of SIGINT.
_INTERRUPTED = 130
_DATABASE = (DatabaseError, InterfaceError)


class GatewayCommand(BaseCommand):
    """A command that ends without a traceback where a store, a setting, the database or the reader of its output fails.

    Raises:
        CommandError: settings are wrong, the database does not answer, this machine has no such file or no right to
            it, or a storage or the gateway said no.
    """

    def run_from_argv(self, argv: list[str]) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A terminal need not know every character that a name may have.
                stream.reconfigure(errors="backslashreplace")
        if sys.stdout is None:  # closed, and not only nobody there
            self.stderr.write("there is no standard output")
            sys.exit(1)
        try:
            try:
                super().run_from_argv(argv)
            finally:
                sys.stdout.flush()
        except KeyboardInterrupt:
            self.stderr.write("interrupted")
            sys.exit(_INTERRUPTED)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.stderr.write(f"the output cannot be written: {error.strerror or type(error).__name__}")
            # Python flushes once more when it ends, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except BrokenPipeError:
            raise
        except (GatewayError, ImproperlyConfigured, ProviderError, OSError) as error:
            if isinstance(error.__cause__, _DATABASE):
                raise _unanswered(error.__cause__) from error
            raise CommandError(str(error)) from error
        except _DATABASE as error:
            raise _unanswered(error) from error


def _unanswered(error: BaseException) -> CommandError:
    # Drivers' messages hold addresses and user names.
    return CommandError(f"the database does not answer ({type(error).__name__}); is it there, and migrated?")
