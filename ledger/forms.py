"""The form of a storage backend's definition."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from backends.registry import WrongConfig, admit, without_effect
from ledger.definitions import WrongDefinition, parse_config
from ledger.models import StorageBackend

KEPT = "Set. Leave empty to keep it."


class StorageBackendForm(forms.ModelForm):
    """Validates with the plugin's own model; secrets that are set are never shown, and kept when left empty."""

    storage_backend_token = forms.CharField(
        label="Backend token",
        required=False,
        widget=forms.PasswordInput(attrs={"class": "vTextField", "autocomplete": "off"}),
    )
    storage_backend_config = forms.CharField(
        label="Backend config",
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "class": "vLargeTextField", "spellcheck": "false"}),
        help_text="JSON",
    )

    class Meta:
        model = StorageBackend
        fields = (
            "storage_backend",
            "storage_backend_id",
            "storage_backend_token",
            "storage_backend_config",
            "storage_backend_keep_days",
            "storage_backend_desc",
            "storage_backend_active",
        )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("storage_backend_token", "storage_backend_config"):
            if getattr(self.instance, name):
                self.fields[name].help_text = KEPT
            self.initial.pop(name, None)
        if self.instance.pk:
            self.fields["storage_backend_id"].disabled = True  # events and deliveries go by it

    def clean(self) -> dict[str, Any]:
        """Hold token and config against the plugin's model.

        Raises:
            ValidationError: the plugin is unknown, or a field is wrong; the field is named, its value is not.
        """
        values = super().clean() or self.cleaned_data
        typed = values.get("storage_backend_token") or ""
        for name in ("storage_backend_token", "storage_backend_config"):
            if not values.get(name):
                values[name] = getattr(self.instance, name) or ""
        identifier = values.get("storage_backend_id")
        if not identifier:
            return values
        try:
            config = parse_config(values["storage_backend_config"] or "{}")
        except WrongDefinition as error:
            raise ValidationError({"storage_backend_config": str(error)}) from error
        try:
            admit(identifier, values["storage_backend_token"], config, getattr(settings, "SIMCOURIER_SITE", {}))
        except WrongConfig as error:
            raise ValidationError({f"storage_backend_{error.part}": str(error)}) from error
        if hindrance := without_effect(identifier, typed, config):
            raise ValidationError({"storage_backend_token": hindrance})
        return values
