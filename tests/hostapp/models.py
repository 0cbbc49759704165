"""A host's models: private fields of every kind, with owners near and far."""

from __future__ import annotations

from django.conf import settings
from django.core.files.storage import Storage, storages
from django.db import models

from gateway.fields import PrivateFileField, PrivateImageField
from gateway.policies import Delete, Download, Owner, Share, Update, Upload, UploadPart
from gateway.storages.minting import hashed_key, per_owner


def private() -> Storage:
    return storages["private"]


class Project(models.Model):
    name = models.CharField(max_length=50)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL)


class Document(models.Model):
    """The usual case: one owner, one private file that goes with its row."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, null=True)
    title = models.CharField(max_length=50, blank=True)
    file = PrivateFileField(
        policy=Owner("owner", operations=(Download, Update, Delete, Share)), delete_objects=True, blank=True
    )


class Minutes(models.Model):
    """Readable by the members of a project, over a path with joins."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE)
    file = PrivateFileField(policy=Owner("project__members"))


class Scan(models.Model):
    """Takes uploads of its owner's: a PDF or an image, and the one before goes."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    file = PrivateFileField(
        policy=Owner("owner", operations=(Download, Upload, UploadPart)),
        delete_objects=True,
        blank=True,
        max_bytes=1000,
        content_types=("application/pdf", "image/png"),
    )


class Contract(models.Model):
    """Takes uploads of its owner's, and knows the version of each."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    file = PrivateFileField(
        policy=Owner("owner", operations=(Download, Upload, UploadPart)), blank=True, version_field="file_version"
    )
    file_version = models.CharField(max_length=255, blank=True, editable=False)


class Photo(models.Model):
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    image = PrivateImageField(
        upload_to=per_owner("owner"), policy=Owner("owner"), width_field="width", height_field="height"
    )
    width = models.IntegerField(null=True, editable=False)
    height = models.IntegerField(null=True, editable=False)


class Portrait(models.Model):
    """Pictures that are made anew, and smaller ones."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    image = PrivateImageField(
        policy=Owner("owner"), delete_objects=True, blank=True, convert="webp",
        sizes={"small": (20, 20), "large": (400, 400)},
    )  # fmt: skip


class Invoice(models.Model):
    """A field of the host's own kind, made private by its storage alone; model permissions decide."""

    number = models.CharField(max_length=20)
    file = models.FileField(upload_to="invoices/", storage=private, max_length=255, blank=True)
    scan = models.ImageField(upload_to=hashed_key, storage=private, max_length=255, blank=True)


class Leaflet(models.Model):
    """A file of the ordinary, public kind."""

    file = models.FileField(upload_to="leaflets/")
