"""The addresses of the standalone service."""

from django.contrib import admin
from django.urls import path

from gateway.service_urls import urlpatterns as service_urls

urlpatterns = [path("admin/", admin.site.urls), *service_urls]
