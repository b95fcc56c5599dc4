"""What forms share: errors of the control verbs at the fields they belong to, and fields that are said to be wrong."""

from __future__ import annotations

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError


def add_errors(form: forms.BaseForm, error: ValidationError) -> None:
    """Put a verb's ValidationError on the form; what belongs to no field of it stands above."""
    if not hasattr(error, "error_dict"):
        form.add_error(None, error)
        return
    for field, problems in error.error_dict.items():
        form.add_error(field if field in form.fields and field != NON_FIELD_ERRORS else None, problems)


class LinesField(forms.CharField):
    """A list of words, one per line (commas count as line ends)."""

    widget = forms.Textarea({"rows": 3})

    def to_python(self, value: object) -> list[str]:  # type: ignore[override]
        text = super().to_python(value) or ""
        return [word.strip() for word in text.replace(",", "\n").splitlines() if word.strip()]

    def prepare_value(self, value: object) -> object:
        return "\n".join(map(str, value)) if isinstance(value, list) else value

    def validate(self, value: object) -> None:
        if self.required and not value:
            raise ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: object) -> None:
        for word in value if isinstance(value, list) else []:
            super().run_validators(word)
