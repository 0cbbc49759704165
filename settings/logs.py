"""One JSON object a line on standard error: time, level, logger, message, request id, and no secret.

Must not import Django, since gunicorn reads it before there are settings.
"""

from __future__ import annotations

from typing import Any

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "request_id": {"()": "gateway.request_ids.RequestIDFilter"},
        # The last, so that it sees what the others add.
        "redact": {"()": "gateway.redaction.RedactionFilter"},
    },
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "format": "{asctime}{levelname}{name}{message}{request_id}",
            "style": "{",
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        }
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "filters": ["request_id", "redact"], "formatter": "json"},
    },
    "root": {"handlers": ["stderr"], "level": "INFO"},
}
