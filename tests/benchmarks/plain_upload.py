"""What is written without the gateway: the file comes with the form, and the view saves it to the bucket."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from django.http import Http404, HttpRequest, JsonResponse
from storages.backends.s3 import S3Storage

_OPTIONS: dict[str, Any] = {}


def upload(request: HttpRequest) -> JsonResponse:
    """Save the file of a form."""
    if not request.user.is_authenticated:
        raise Http404
    if not _OPTIONS:
        _OPTIONS.update(json.loads(Path(os.environ["GATEWAY_STORAGES_FILE"]).read_text())["private"]["OPTIONS"])
    return JsonResponse({"name": S3Storage(**_OPTIONS).save("uploads/file.bin", request.FILES["file"])}, status=201)
