"""A picture of one pixel."""

from __future__ import annotations

import io

from PIL import Image

__all__ = ["PNG", "picture"]


def picture(size: tuple[int, int] = (1, 1), colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


PNG = picture()
