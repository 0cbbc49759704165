"""Creates the demo users and their files, and prints what to try. For development alone."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management.base import CommandError
from django.db import transaction
from django.urls import reverse
from django.utils import timezone
from PIL import Image, ImageDraw

from gateway.conf import conf
from gateway.fields import permalink_of
from gateway.management.base import GatewayCommand
from gateway.models import ApiToken, File
from gateway.resources import Resource, facts_of_name

PASSWORD = "demo"
OWNERS = ("alice", "bob")
STAFF = "carol"


class Command(GatewayCommand):
    help = "Create demo users with files (development settings only), and print how to try the service."

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEBUG:
            raise CommandError("the demo users have a known password; this needs DEBUG = True")
        users = {name: self._user(name) for name in (*OWNERS, STAFF)}
        users[STAFF].user_permissions.add(
            Permission.objects.get(content_type__app_label="presign_gateway", codename="view_file")
        )
        files = {name: self._files(users[name]) for name in OWNERS}
        tokens = {name: self._token(users[name]) for name in OWNERS}
        self._explain(files["alice"][0], tokens)

    def _user(self, name: str) -> Any:
        user, created = get_user_model().objects.get_or_create(username=name, defaults={"is_staff": name == STAFF})
        if created:
            user.set_password(PASSWORD)
            user.save()
        return user

    def _files(self, owner: Any) -> list[File]:
        known = list(File.objects.filter(owner=owner).order_by("created_at"))
        if known:
            return known
        name = owner.get_username()
        colour = (170, 70, 40) if name == "alice" else (40, 90, 170)
        samples = {
            f"report of {name}.pdf": _image(f"A private report of {name}", colour, "PDF"),
            f"{name}.png": _image(name, colour, "PNG"),
            "numbers.csv": b"month,amount\n2026-01,100\n2026-02,250\n",
        }
        return [self._file(owner, filename, content) for filename, content in samples.items()]

    def _file(self, owner: Any, filename: str, content: bytes) -> File:
        alias = conf().file_storage
        extension = filename.rpartition(".")[2]
        return File.objects.create(
            owner=owner,
            storage_alias=alias,
            key=storages[alias].save(f"file.{extension}", ContentFile(content)),
            filename=filename,
            content_type=facts_of_name(filename).content_type or "application/octet-stream",
            size_bytes=len(content),
        )

    def _token(self, user: Any) -> str:
        ApiToken.objects.filter(user=user, name="demo").delete()
        _, text = ApiToken.mint(
            user=user,
            name="demo",
            scopes=["Download", "Update", "Delete", "Upload"],
            expires_at=timezone.now() + timedelta(days=7),
        )
        return text

    def _explain(self, file: File, tokens: dict[str, str]) -> None:
        origin = conf().public_origin
        links = f"{origin}{reverse('presign_gateway:api:create_link')}"
        body = f"""-H 'Content-Type: application/json' -d '{{"file": "{file.pk}"}}'"""
        bearer = {name: f"-H 'Authorization: Bearer {token}'" for name, token in tokens.items()}
        saved = "-o report.pdf -w '%{http_code} %{size_download} bytes\\n'"
        self.stdout.write(f"Serving private files on {origin}/")
        self.stdout.write("  Log in as alice or bob (owners) or carol (staff, may view all).")
        self.stdout.write(f"  The password of each is {PASSWORD}.")
        self.stdout.write(f"  Admin: {origin}{reverse('admin:index')}")
        self.stdout.write("\n# alice gets a presigned link for her own file")
        self.stdout.write(f"curl -s -X POST {links} {bearer['alice']} {body}")
        self.stdout.write("\n# its permalink leads her to the bytes")
        self.stdout.write(f"curl -s -L {permalink_of(Resource.of_file(file))} {bearer['alice']} {saved}")
        self.stdout.write("\n# bob gets nothing")
        self.stdout.write(f"curl -s -X POST {links} {bearer['bob']} {body}\n")


def _image(text: str, colour: tuple[int, int, int], file_format: str) -> bytes:
    image = Image.new("RGB", (320, 200), colour)
    ImageDraw.Draw(image).text((20, 90), text, fill="white")
    buffer = BytesIO()
    image.save(buffer, file_format)
    return buffer.getvalue()
