"""The host's API on django-ninja, written as if its files were public."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import aauthenticate, authenticate
from django.http import HttpRequest
from ninja import ModelSchema, NinjaAPI
from ninja.security import HttpBasicAuth, django_auth

from gateway.contrib.ninja import AsksAsUser
from gateway.links import aprefetch, prefetch
from tests.hostapp.models import Document, Invoice, Leaflet


class Basic(AsksAsUser, HttpBasicAuth):
    def authenticate(self, request: HttpRequest, username: str, password: str) -> Any:
        return authenticate(request, username=username, password=password)


class AsyncBasic(AsksAsUser, HttpBasicAuth):
    async def authenticate(self, request: HttpRequest, username: str, password: str) -> Any:
        return await aauthenticate(request, username=username, password=password)


class DocumentOut(ModelSchema):
    class Meta:
        model = Document
        fields = ["id", "title", "file"]


class InvoiceOut(ModelSchema):
    class Meta:
        model = Invoice
        fields = ["id", "number", "file", "scan"]


class LeafletOut(ModelSchema):
    class Meta:
        model = Leaflet
        fields = ["id", "file"]


api = NinjaAPI(urls_namespace="hostapp", docs_url=None)


@api.get("/documents", response=list[DocumentOut], auth=[django_auth, Basic()])
def documents(request: HttpRequest) -> Any:
    return Document.objects.order_by("pk")


@api.get("/prefetched", response=list[DocumentOut], auth=django_auth)
def prefetched(request: HttpRequest) -> Any:
    return prefetch(Document.objects.order_by("pk"), "file")


@api.get("/aprefetched", response=list[DocumentOut], auth=AsyncBasic())
async def aprefetched(request: HttpRequest) -> Any:
    return await aprefetch(Document.objects.order_by("pk"), "file")


@api.get("/adocuments", response=list[DocumentOut], auth=AsyncBasic())
async def adocuments(request: HttpRequest) -> Any:
    return [document async for document in Document.objects.order_by("pk")]


@api.get("/invoices", response=list[InvoiceOut], auth=django_auth)
def invoices(request: HttpRequest) -> Any:
    return Invoice.objects.order_by("pk")


@api.get("/leaflets", response=list[LeafletOut], auth=django_auth)
def leaflets(request: HttpRequest) -> Any:
    return Leaflet.objects.order_by("pk")
