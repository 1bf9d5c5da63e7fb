"""The first account of the site, as `simcourier up` makes and tells it."""

from __future__ import annotations

from pathlib import Path

from messaging.settings import Settings


def test_how_to_sign_in_is_told_for_as_long_as_it_is_so(sqlite_ledger: Settings, tmp_path: Path) -> None:
    from django.contrib.auth.models import User

    from ledger.accounts import first_account

    del sqlite_ledger
    file = tmp_path / "admin-password"
    told = first_account(file)
    assert told == f"admin, password {file.read_text().strip()}"
    assert first_account(file) == f"admin, password in {file}", "the password itself is told once"

    another = "admin; to give it another password: simcourier manage changepassword admin"
    user = User.objects.get()
    user.set_password("one of the operator's own")
    user.save()
    assert first_account(file) == another, "the file does not open it any more"
    file.unlink()
    assert first_account(file) == another, "as after a restore without the file"
    user.delete()
    User.objects.create_superuser("anna", password="hers")
    assert first_account(file) == "anna; to give it another password: simcourier manage changepassword anna"
