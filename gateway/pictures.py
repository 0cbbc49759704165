"""Uploaded pictures made anew by Pillow: turned upright, in one format, in several sizes, without what a camera adds.

Must not keep a byte of what came: whatever hid beside the picture stays behind.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from PIL import Image, ImageOps

__all__ = ["FORMATS", "check_picture", "encoded", "opened"]

FORMATS = {"jpeg": ".jpg", "png": ".png", "webp": ".webp"}
# What is read. Of Pillow's others some start programs, and none is what people upload.
_READ = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


def check_picture(file: Any) -> None:
    """Hold an upload to Pillow's limits by its header, before it is unpacked.

    Raises:
        ValidationError: it is no picture, or one that is larger than Pillow unpacks.
    """
    with _open(file):
        file.seek(0)


@contextmanager
def opened(file: Any) -> Iterator[Image.Image]:
    """Open an upload as a picture of pixels alone, the right way up.

    Raises:
        ValidationError: it is no picture, a broken one, or one that is larger than Pillow unpacks.
    """
    with _open(file) as picture:
        try:
            upright = ImageOps.exif_transpose(picture)
            pixels = upright.convert("RGBA" if upright.has_transparency_data else "RGB")
        except Exception as error:
            raise _no_picture() from error
        # Some writers take comments and places from here, whatever they are told.
        pixels.info = {}
        yield pixels


def encoded(picture: Image.Image, format: str, size: tuple[int, int] | None = None) -> ContentFile[bytes]:  # noqa: A002
    """Return a picture in a format, at most of a size in pixels; it is never made larger.

    Args:
        format: a key of ``FORMATS``.
    """
    if size is not None:
        picture = picture.copy()
        picture.thumbnail(size)
    if format == "jpeg" and picture.mode == "RGBA":
        ground = Image.new("RGB", picture.size, "white")
        ground.paste(picture, mask=picture.getchannel("A"))
        picture = ground
    buffer = io.BytesIO()
    picture.save(buffer, format.upper())
    return ContentFile(buffer.getvalue())


def _open(file: Any) -> Image.Image:
    file.seek(0)
    try:
        picture = Image.open(file, formats=_READ)
    except Image.DecompressionBombError as error:
        raise _too_large() from error
    except Image.DecompressionBombWarning as error:  # where warnings are errors
        raise _too_large() from error
    except Exception as error:
        raise _no_picture() from error
    # Pillow only warns up to twice its limit.
    if Image.MAX_IMAGE_PIXELS is not None and picture.width * picture.height > Image.MAX_IMAGE_PIXELS:
        raise _too_large()
    return picture


def _too_large() -> ValidationError:
    return ValidationError(
        "The picture has too many pixels; at most %(limit)s.",
        code="picture_too_large", params={"limit": Image.MAX_IMAGE_PIXELS},
    )  # fmt: skip


def _no_picture() -> ValidationError:
    return ValidationError("The file is no picture that can be read.", code="invalid_image")
