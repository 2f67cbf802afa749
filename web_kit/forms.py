"""Forms as every page draws them: a label in plain words, the field's term, help, and the error beside the field."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.forms.renderers import DjangoTemplates
from django.template import loader

from finetune_engine.errors import UserError


class TunesmithRenderer(DjangoTemplates):
    """Django's own widgets inside our field template; needs no entry in INSTALLED_APPS."""

    form_template_name = "web_kit/form.html"
    field_template_name = "web_kit/field.html"

    def get_template(self, template_name: str) -> Any:
        """Our templates come from the site's engine (so that tags and translations work), the rest from Django."""
        if template_name.startswith("django/forms/"):
            return super().get_template(template_name)
        return loader.get_template(template_name)


class StyledForm(forms.Form):
    """A form drawn by ``{{ form }}`` or field by field with ``{{ form.name.as_field_group }}``.

    ``terms`` maps a field's name to a key of the glossary: its word is shown beside the label with its meaning.
    """

    default_renderer = TunesmithRenderer
    required_css_class = "is-required"
    terms: ClassVar[dict[str, str]] = {}

    def add_user_error(self, error: UserError) -> None:
        """Show ``error`` beside the field it names, or above the form when it names none of ours."""
        _add(self, error)


def _add(form: forms.BaseForm, error: UserError) -> None:
    if not form.is_bound:
        raise ValueError("An error can be added to a submitted form only.")
    _ = form.errors  # validates, so that there is a place to add to
    form.add_error(error.field if error.field in form.fields else None, sentence_of(error))


def sentence_of(error: UserError) -> str:
    """What happened, and the way out when the error knows it."""
    fix = error.place.fix
    return f"{error.sentence} {fix}" if fix else error.sentence
