"""The addresses of the views that serve files without the service."""

from __future__ import annotations

from django.urls import path

from tests.benchmarks import plain_delivery as plain

urlpatterns = [
    path("plain/answered/<uuid:pk>", plain.answered),
    path("plain/x_accel/<uuid:pk>", plain.x_accel),
    path("plain/x_sendfile/<uuid:pk>", plain.x_sendfile),
    path("plain/file_response/<uuid:pk>", plain.file_response),
    path("plain/recorded_file_response/<uuid:pk>", plain.recorded_file_response),
    path("plain/sendfile2/<uuid:pk>", plain.sendfile2),
    path("plain/private_storage/<uuid:pk>", plain.ByPrivateStorage.as_view()),
    path("plain/downloadview/<uuid:pk>", plain.by_downloadview),
    path("plain/asked", plain.asked),
]
