"""The host's API on Django REST framework, written as if its files were public."""

from __future__ import annotations

from typing import Any

from rest_framework.authentication import BasicAuthentication, SessionAuthentication
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import AllowAny
from rest_framework.routers import DefaultRouter
from rest_framework.serializers import ModelSerializer
from rest_framework.viewsets import ModelViewSet

from gateway.links import prefetch
from tests.hostapp.models import Document, Invoice, Leaflet, Photo


class DocumentSerializer(ModelSerializer):
    class Meta:
        model = Document
        fields = "__all__"


class InvoiceSerializer(ModelSerializer):
    class Meta:
        model = Invoice
        fields = "__all__"


class PhotoSerializer(ModelSerializer):
    class Meta:
        model = Photo
        fields = "__all__"


class LeafletSerializer(ModelSerializer):
    class Meta:
        model = Leaflet
        fields = "__all__"


class Open(ModelViewSet):
    permission_classes = [AllowAny]
    authentication_classes = [SessionAuthentication, BasicAuthentication]


class Documents(Open):
    queryset = Document.objects.order_by("pk")
    serializer_class = DocumentSerializer


class Page(PageNumberPagination):
    page_size = 100


class PrefetchedDocuments(Documents):
    pagination_class = Page

    def paginate_queryset(self, queryset: Any) -> Any:
        return prefetch(super().paginate_queryset(queryset), "file")


class Invoices(Open):
    queryset = Invoice.objects.order_by("pk")
    serializer_class = InvoiceSerializer


class Photos(Open):
    queryset = Photo.objects.order_by("pk")
    serializer_class = PhotoSerializer


class Leaflets(Open):
    queryset = Leaflet.objects.order_by("pk")
    serializer_class = LeafletSerializer


router = DefaultRouter()
router.register("documents", Documents)
router.register("prefetched", PrefetchedDocuments, basename="prefetched")
router.register("invoices", Invoices)
router.register("photos", Photos)
router.register("leaflets", Leaflets)
