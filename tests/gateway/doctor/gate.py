"""A middleware that refuses everything, as a host's own might."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse


class Closed:
    def __init__(self, get_response: Any) -> None:
        del get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(status=503)
