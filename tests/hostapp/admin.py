"""The host's admin, written as if its files were public."""

from __future__ import annotations

from django.contrib import admin

from tests.hostapp.models import Document, Invoice, Minutes, Photo, Project


class MinutesInline(admin.TabularInline):
    model = Minutes
    extra = 0


@admin.register(Project)
class ProjectAdmin(admin.ModelAdmin):
    inlines = [MinutesInline]


@admin.register(Document)
class DocumentAdmin(admin.ModelAdmin):
    list_display = ["title", "file"]


@admin.register(Invoice)
class InvoiceAdmin(admin.ModelAdmin):
    list_display = ["number", "file", "scan"]
    readonly_fields = ["scan"]


@admin.register(Photo)
class PhotoAdmin(admin.ModelAdmin):
    list_display = ["pk", "image"]
    list_display_links = None
