"""Somebody else's Django site (examples/django_site) gets the app `ledger`, and our processes use its database."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from django.db import connections

from tests.support.installation import KEY, ROOT, Installation, fetch, files_below, link_in, unpacked
from tests.support.ledger import SECRET
from tests.support.pages import adapted, blocks, type_at, with_programs
from tests.support.scratch import free_ports, wait_until

SITE = ROOT / "examples" / "django_site"
PASSWORD = "a password that only this test knows"
LABELS = ("Backend name", "Backend identifier", "Backend token", "Backend config", "Backend keep days")


class Site:
    """The site as its operator runs it.

    Args:
        database_url: the site's database.
    """

    def __init__(self, database_url: str) -> None:
        (self._port,) = free_ports(1)
        self._environ = {name: value for name, value in os.environ.items() if not name.startswith("SIMCOURIER_")} | {
            "DJANGO_SUPERUSER_PASSWORD": PASSWORD,
            "PYTHONDONTWRITEBYTECODE": "1",
            "SIMCOURIER_SECRET_KEY": SECRET,
            "STATION_DATABASE_URL": database_url,
            "STATION_SECRET_KEY": "the site's own key, which SimCourier's processes do not have",
        }
        self._session = requests.Session()

    def manage(self, *arguments: str) -> str:
        """Run one of Django's commands; what it prints."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=SITE, env=self._environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def migrate(self) -> None:
        """As the page says."""
        _install, migrate = blocks("docs/django_site.md", "Into the site")
        type_at(self._environ, SITE, migrate)

    def serve(self) -> subprocess.Popen[bytes]:
        """Start it, and wait until it answers."""
        command = [sys.executable, "manage.py", "runserver", "--noreload", f"127.0.0.1:{self._port}"]
        process = subprocess.Popen(command, cwd=SITE, env=self._environ, stdout=subprocess.DEVNULL, stderr=None)
        wait_until(self._answers, "the site answers")
        return process

    def get(self, path: str) -> str:
        """A page."""
        answer = self._session.get(f"http://127.0.0.1:{self._port}{path}", timeout=120)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        return answer.text

    def fill_in(self, path: str, **fields: str) -> str:
        """Send the form of a page; the page that it leads to."""
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.get(path))
        assert token
        values = {"csrfmiddlewaretoken": token[1], **fields}
        answer = self._session.post(f"http://127.0.0.1:{self._port}{path}", data=values, timeout=120)
        assert answer.history, f"the form was not accepted: {answer.text}"
        assert answer.status_code == 200
        return answer.text

    def _answers(self) -> bool:
        try:
            return self.get("/") == "The weather station"
        except requests.ConnectionError:
            return False


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'station.db'}"
    new_database_url: Callable[[], str] = request.getfixturevalue("new_database_url")
    return new_database_url()


@pytest.fixture
def site(database_url: str) -> Iterator[Site]:
    """Migrated, with an account, and running."""
    site = Site(database_url)
    site.migrate()
    site.manage("createsuperuser", "--noinput", "--username", "chief", "--email", "chief@example.org")
    process = site.serve()
    yield site
    process.kill()
    process.wait()


def start_the_processes(one: Installation, folder: Path) -> None:
    """As the page says, with the settings of ``one`` in place of the page's."""
    settings, worker, sender = blocks("docs/django_site.md", "The processes beside it")
    shown = {line.partition("=")[0]: line for line in settings.splitlines() if not line.startswith("#")}
    ours = one.environ | {"SIMCOURIER_BROKER_URL": one.settings.broker_url.get_secret_value()}
    file = adapted(settings, {line: f"{name}={ours[name]}" for name, line in shown.items()})
    (folder / "simcourier.env").write_text(file)
    environ = with_programs({name: value for name, value in one.environ.items() if name not in shown})
    for script in (worker, sender):
        one.processes.append(subprocess.Popen(["sh", "-ec", f"exec {script}"], cwd=folder, env=environ))


def test_a_site_with_admin_and_users_of_its_own_takes_the_app_and_a_worker_uses_its_database(
    site: Site, database_url: str, results: Path, tmp_path: Path
) -> None:
    site.fill_in("/office/login/", username="chief", password=PASSWORD, next="/office/")
    with Installation(tmp_path / "data", database_url=database_url) as one:  # defines `local` by command
        connections.close_all()
        one.start_cloud()
        form = site.get("/office/simcourier/storagebackend/add/")
        added = site.fill_in(
            "/office/simcourier/storagebackend/add/",
            storage_backend="The station's cloud",
            storage_backend_id="local-station",
            storage_backend_token=f"127.0.0.1:{one.cloud_port}",
            storage_backend_config=f'{{"key": "{KEY}"}}',
            storage_backend_keep_days="30",
            storage_backend_active="on",
        )
        start_the_processes(one, tmp_path)
        one.wait_ready()
        event = one.publish(results, backend="local-station", title="Wind over the ridge")
        mail = one.wait_for_mail(event)
        archive = fetch(link_in(mail))
        deliveries = site.get("/office/simcourier/delivery/")

    assert all(label in form for label in LABELS)
    assert "Weather station" in form
    assert "local-station" in added
    assert KEY not in site.get("/office/simcourier/storagebackend/")
    assert unpacked(archive) == files_below(results)
    assert "Wind over the ridge" in deliveries
    assert "delivered" in deliveries
    assert "chief" in site.get("/office/crew/member/"), "what the site had before still works"
    assert "No planned migration operations" in site.manage("migrate", "--plan")


@pytest.mark.full
def test_what_the_page_installs_is_all_that_the_site_needs(tmp_path: Path) -> None:
    install, migrate = blocks("docs/django_site.md", "Into the site")
    theirs = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", theirs], check=True)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SIMCOURIER_")} | {
        "PYTHONDONTWRITEBYTECODE": "1",
        "SIMCOURIER_SECRET_KEY": SECRET,
        "STATION_DATABASE_URL": f"sqlite:///{tmp_path / 'station.db'}",
        "STATION_SECRET_KEY": "the site's own key",
    }

    type_at(environ, ROOT, install, {"pip ": f"{theirs}/bin/pip "})
    told = type_at(environ, SITE, migrate, {"python ": f"{theirs}/bin/python "}).stdout

    assert "Applying simcourier." in told
