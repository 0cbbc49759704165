"""Pictures are made anew when they are saved: in one format, upright, small enough, and without metadata."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models
from django.forms import modelform_factory
from PIL import Image, PngImagePlugin

from gateway import links
from gateway.errors import AccessDenied, TypeNotAllowed
from gateway.fields import PrivateImageField
from gateway.models import ObjectDeletion
from gateway.pictures import check_picture, encoded, opened
from gateway.policies import Download, Owner
from gateway.resources import Resource
from gateway.testing import as_user
from gateway.uploads.places import place_of
from tests.hostapp.models import Portrait

pytestmark = pytest.mark.django_db

PLACE = "taken at 48.2082 north"


def photograph(size: tuple[int, int] = (60, 30)) -> bytes:
    """As a camera makes one: lying on its side, and saying where and what."""
    picture = Image.new("RGB", size, "red")
    picture.paste("blue", (0, 0, size[0] // 2, size[1]))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees to the right
    exif[0x010E] = PLACE
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", exif=exif, comment=PLACE, quality=95)
    return buffer.getvalue()


@contextmanager
def pixels(file: Any) -> Iterator[Image.Image]:
    with file.open() as stored, Image.open(stored) as picture:
        yield picture


@pytest.fixture
def portrait(alice: Any) -> Portrait:
    portrait = Portrait(owner=alice)
    portrait.image.save("me.jpg", ContentFile(photograph()))
    return Portrait.objects.get()


def test_it_is_stored_upright_in_one_format_and_in_every_size(portrait: Portrait) -> None:
    found = {}
    for name in ("image", "image_small", "image_large"):
        file = getattr(portrait, name)
        assert file.name.endswith("/me.webp")
        with pixels(file) as picture:
            assert picture.format == "WEBP"
            found[name] = picture.size
            # Its left half lay on top once it is upright.
            assert picture.convert("RGB").getpixel((picture.width // 2, 1))[2] > 150  # type: ignore[index]
    assert found == {"image": (30, 60), "image_small": (10, 20), "image_large": (30, 60)}


def test_nothing_of_the_cameras_is_stored(portrait: Portrait) -> None:
    assert PLACE.encode() in photograph()
    for file in (portrait.image, portrait.image_small):
        with file.open() as stored:
            content = stored.read()
        assert PLACE.encode() not in content
        with Image.open(io.BytesIO(content)) as picture:
            assert not picture.getexif()


@pytest.mark.parametrize("format_", ["jpeg", "png", "webp"])
def test_no_format_takes_texts_along(format_: str) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Comment", PLACE)
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 4), (255, 0, 0, 128)).save(buffer, "PNG", pnginfo=texts, dpi=(300, 300))
    for source in (buffer.getvalue(), photograph()):
        with opened(ContentFile(source)) as picture:
            assert PLACE.encode() not in encoded(picture, format_).read()


def test_the_policy_of_the_picture_decides_about_its_sizes(portrait: Portrait, alice: Any, bob: Any) -> None:
    with as_user(alice):
        assert portrait.image_small.url
    with as_user(bob), pytest.raises(AccessDenied):
        _ = portrait.image_small.url


def test_a_policy_by_setting_is_that_of_the_picture(portrait: Portrait, settings: Any, monkeypatch: Any) -> None:
    policy = Owner("owner", operations=(Download,))
    monkeypatch.setattr(Portrait._meta.get_field("image"), "policy", None)
    resource = Resource.of_field(portrait, "image_small")
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"hostapp.Portrait.image": policy}}
    assert links.may_be_named(resource)
    assert links.policy_for(resource) is policy
    settings.GATEWAY = settings.GATEWAY | {"POLICIES": {"hostapp.Portrait.image_small": policy}}
    assert not links.may_be_named(resource)
    assert links.policy_for(resource) is not policy


def names(portrait: Portrait) -> set[str]:
    row = Portrait.objects.get(pk=portrait.pk)
    return {str(name) for name in (row.image, row.image_small, row.image_large) if name}


@pytest.mark.parametrize("fields", [None, ["image"]], ids=["all", "one-column"])
def test_another_picture_replaces_all_sizes(portrait: Portrait, fields: list[str] | None) -> None:
    before = names(portrait)
    portrait.image = SimpleUploadedFile("other.png", photograph((8, 8)))
    portrait.save(update_fields=fields)
    assert len(names(portrait)) == 3
    assert all(name.endswith("/other.webp") for name in names(portrait))
    assert set(ObjectDeletion.objects.values_list("key", flat=True)) == before


@pytest.mark.parametrize("how", ["delete", "empty", "row"])
def test_the_sizes_go_with_the_picture(portrait: Portrait, how: str) -> None:
    before = names(portrait)
    if how == "delete":
        portrait.image.delete()
    elif how == "empty":
        portrait.image = None
        portrait.save()
    else:
        portrait.delete()
    if how != "row":
        assert names(portrait) == set()
    assert set(ObjectDeletion.objects.values_list("key", flat=True)) == before


def test_a_form_takes_a_picture_and_shows_no_sizes(alice: Any) -> None:
    form_class = modelform_factory(Portrait, fields="__all__")
    assert set(form_class.base_fields) == {"owner", "image"}
    form = form_class({"owner": alice.pk}, {"image": SimpleUploadedFile("me.jpg", photograph())})
    assert form.is_valid(), form.errors
    assert len(names(form.save())) == 3


@pytest.mark.parametrize("over", [1, 2.5], ids=["where-pillow-warns", "where-pillow-refuses"])
def test_more_pixels_than_pillow_unpacks_are_refused(alice: Any, monkeypatch: Any, over: float) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(60 * 30 / over) - 1)
    with pytest.raises(ValidationError) as raised:
        Portrait(owner=alice).image.save("me.jpg", ContentFile(photograph()))
    assert raised.value.code == "picture_too_large"
    form = modelform_factory(Portrait, fields="__all__")(
        {"owner": alice.pk}, {"image": SimpleUploadedFile("me.jpg", photograph())}
    )
    assert not form.is_valid()
    assert not Portrait.objects.exists()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", id="svg"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", id="postscript"),
        pytest.param(photograph()[:400], id="cut-short"),
    ],
)
def test_what_is_no_picture_is_refused_and_nothing_is_stored(alice: Any, content: bytes) -> None:
    with pytest.raises(ValidationError) as raised:
        Portrait(owner=alice).image.save("me.jpg", ContentFile(content))
    assert raised.value.code == "invalid_image"
    assert not Portrait.objects.exists()


def test_a_check_reads_the_header_and_leaves_the_file_at_its_start() -> None:
    file = ContentFile(photograph())
    check_picture(file)
    assert file.tell() == 0


@pytest.mark.parametrize("field", ["image", "image_small"])
def test_nothing_is_uploaded_past_the_conversion(portrait: Portrait, field: str) -> None:
    place = place_of(f"hostapp.portrait:{portrait.pk}:{field}")
    assert place.field is not None
    with pytest.raises(TypeNotAllowed, match="made by the server"):
        place.check_limits("image/png", 10)


def test_neither_option_enters_a_migration() -> None:
    _, path, _, options = Portrait._meta.get_field("image").deconstruct()
    assert path == "gateway.fields.PrivateImageField"
    assert not {"convert", "sizes"} & set(options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param({"convert": "gif"}, "jpeg, png or webp", id="format"),
        pytest.param({"sizes": {"small": (1, 1)}}, "needs convert", id="sizes-alone"),
        pytest.param({"convert": "webp", "sizes": {"a-b": (1, 1)}}, "a name, and two numbers", id="name"),
        pytest.param({"convert": "webp", "sizes": {"small": (0, 1)}}, "a name, and two numbers", id="nothing"),
        pytest.param({"convert": "webp", "sizes": {"small": (1, 1, 1)}}, "a name, and two numbers", id="three"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PrivateImageField(**options)


def test_an_abstract_model_gives_the_sizes_to_its_children() -> None:
    class Base(models.Model):
        picture = PrivateImageField(convert="png", sizes={"small": (9, 9)})

        class Meta:
            abstract = True
            app_label = "hostapp"

    assert not [field for field in Base._meta.get_fields() if field.name == "picture_small"]
    assert isinstance(Portrait._meta.get_field("image_small"), PrivateImageField)
