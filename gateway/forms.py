"""Lets forms show a stored private file by its permalink, whichever form field and widget show it.

Must not ask for a link: the page decides nothing, the permalink does when it is followed.
"""

from __future__ import annotations

from typing import Any

from django import forms

from gateway.fields import PrivateFieldFile

__all__ = ["show_permalinks"]


def show_permalinks() -> None:
    """Prepare private files in the form field that every other derives from; to do it again changes nothing.

    Not by a form field or a widget of our own: a form may declare its own, or be given one.
    """
    forms.FileField.prepare_value = _prepare_value  # type: ignore[assignment,method-assign]


def _prepare_value(self: forms.FileField, value: Any) -> Any:
    value = super(forms.FileField, self).prepare_value(value)
    return value.as_shown() if isinstance(value, PrivateFieldFile) else value
