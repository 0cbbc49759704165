"""The addresses of the standalone service."""

from django.contrib import admin
from django.urls import path
from django.utils.module_loading import import_string

# Not include(), which would have every address looked up through one resolver more.
urlpatterns = [path("admin/", admin.site.urls), *import_string("gateway.service_urls.urlpatterns")]
