"""The host's pages."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from gateway.links import aprefetch, prefetch
from tests.hostapp.models import Document


def documents(request: HttpRequest) -> HttpResponse:
    return render(request, "hostapp/documents.html", {"documents": Document.objects.order_by("pk")})


def prefetched_documents(request: HttpRequest) -> HttpResponse:
    page = prefetch(Document.objects.order_by("pk"), "file")
    return render(request, "hostapp/documents.html", {"documents": page})


async def async_documents(request: HttpRequest) -> HttpResponse:
    page = await aprefetch(Document.objects.order_by("pk"), "file")
    return render(request, "hostapp/documents.html", {"documents": page})
