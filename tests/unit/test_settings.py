"""Settings: read once, wrong ones refused by name, secrets never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from messaging.settings import PREFIX, Settings, WrongSetting, load, require_roots

SECRET = "hunter2-do-not-show"
SECRETS = ("broker_url", "database_url", "email_url", "secret_key")


def refusal(environ: dict[str, str], env_file: Path | None = None) -> str:
    with pytest.raises(WrongSetting) as caught:
        load(environ, env_file)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_nothing_needs_to_be_set(tmp_path: Path) -> None:
    settings = load({"SIMCOURIER_DATA_DIR": str(tmp_path)})

    assert settings.broker_url.get_secret_value() == f"sqlite:///{tmp_path}/broker.db"
    assert settings.database_url.get_secret_value() == f"sqlite:///{tmp_path}/simcourier.db"
    assert settings.email_url.get_secret_value() == f"file://{tmp_path}/mail"
    assert "@" in settings.email_from
    assert settings.embedded_broker
    assert settings.embedded_ledger


def test_the_data_folder_defaults_to_one_of_the_user() -> None:
    settings = load({"HOME": "/home/anna"})

    assert settings.data_dir.name == "simcourier"
    assert settings.data_dir.is_absolute()


def test_a_relative_data_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    settings = load({"SIMCOURIER_DATA_DIR": "here"})

    assert settings.data_dir == tmp_path / "here"
    assert settings.broker_url.get_secret_value() == f"sqlite:///{tmp_path}/here/broker.db"


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("WEB_PORT", "abc", "SIMCOURIER_WEB_PORT should be a valid integer."),
        ("CONCURRENCY", "0", "SIMCOURIER_CONCURRENCY should be greater than or equal to 1."),
        ("COMPRESSION", "best", "SIMCOURIER_COMPRESSION should be 'fast' or 'small'."),
    ],
)
def test_a_wrong_value_is_told_in_a_sentence(setting: str, value: str, told: str) -> None:
    assert refusal({f"SIMCOURIER_{setting}": value}) == told


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load({}).concurrency = 2  # type: ignore[misc]


def test_a_list_is_separated_by_commas() -> None:
    settings = load({"SIMCOURIER_RESULTS_ROOTS": " /srv/results, https://files.example.org/ ,,"})

    assert settings.results_roots == ("/srv/results", "https://files.example.org/")


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load({"SIMCOURIER_CONCURRENCY": " ", "SIMCOURIER_SECRET_KEY": ""}) == load({})


def test_a_secret_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")

    settings = load({"SIMCOURIER_SECRET_KEY_FILE": str(file)})

    assert settings.secret_key
    assert settings.secret_key.get_secret_value() == SECRET


def test_a_value_and_a_file_for_one_setting_are_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)

    text = refusal({"SIMCOURIER_SECRET_KEY": SECRET, "SIMCOURIER_SECRET_KEY_FILE": str(tmp_path / "key")})

    assert "SIMCOURIER_SECRET_KEY and SIMCOURIER_SECRET_KEY_FILE" in text
    assert SECRET not in text


def test_a_secret_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    text = refusal({"SIMCOURIER_SECRET_KEY_FILE": str(tmp_path / "nowhere")})

    assert text.startswith("SIMCOURIER_SECRET_KEY_FILE: ")
    assert str(tmp_path / "nowhere") in text


def test_the_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(
        "# a comment\n\nexport SIMCOURIER_CONCURRENCY=3\nSIMCOURIER_PUBLIC_URL='https://results.example.org'\nOTHER=x\n"
    )

    settings = load({"SIMCOURIER_CONCURRENCY": "4"}, file)

    assert settings.concurrency == 4
    assert settings.public_url == "https://results.example.org"


def test_a_public_url_that_was_set_counts_also_where_it_says_what_follows_from_the_port() -> None:
    address = "http://127.0.0.1:18974"
    port = {"SIMCOURIER_WEB_PORT": "18974"}

    assert load(port | {"SIMCOURIER_PUBLIC_URL": f"{address}/"}).told_url == address
    assert (load(port).told_url, load(port).site_url) == ("", address)


def test_a_line_of_the_env_file_that_is_no_setting_is_named_by_its_number(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(f"A=b\n{SECRET}\n")

    text = refusal({}, file)

    assert f"{file}, line 2" in text
    assert SECRET not in text


@pytest.mark.parametrize("value", [f"{SECRET}   # 32 characters or more", f"'{SECRET}", f"'{SECRET}'  # a comment"])
def test_a_comment_behind_a_value_in_the_env_file_does_not_become_a_part_of_it(tmp_path: Path, value: str) -> None:
    file = tmp_path / "env"
    file.write_text(f"SIMCOURIER_SECRET_KEY={value}\n")

    text = refusal({}, file)

    assert text.startswith(f"{file}, line 1: ")
    assert "SIMCOURIER_SECRET_KEY" in text
    assert SECRET not in text


def test_a_value_in_quotes_is_taken_as_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text('SIMCOURIER_RESULTS_ROOTS="/srv/it\'s run #1"\n')

    assert load({}, file).results_roots == ("/srv/it's run #1",)


def test_an_env_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "none") in refusal({}, tmp_path / "none")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SIMCOURIER_CONCURRENCY", "many"),
        ("SIMCOURIER_CONCURRENCY", "0"),
        ("SIMCOURIER_LOCAL_CLOUD_PORT", "70000"),
        ("SIMCOURIER_LEASE_SECONDS", "nan"),
        ("SIMCOURIER_LEASE_SECONDS", "-1"),
        ("SIMCOURIER_MAX_WAIT_DAYS", "inf"),
        ("SIMCOURIER_BROKER_PREFIX", "Sim Courier"),
        ("SIMCOURIER_BROKER_URL", f"redis://user:{SECRET}@host"),
        ("SIMCOURIER_BROKER_URL", f"amqp://user:{SECRET}@[host"),
        ("SIMCOURIER_BROKER_URL", f"amqp://user:{SECRET}@one,two:many"),
        ("SIMCOURIER_BROKER_URL", f"amqp://user:{SECRET}@one,two:0"),
        ("SIMCOURIER_BROKER_URL", f"amqp://user:{SECRET}@one,,two"),
        ("SIMCOURIER_DATABASE_URL", f"mysql://user:{SECRET}@host/db"),
        ("SIMCOURIER_EMAIL_URL", f"user:{SECRET}@mail.example.org"),
        ("SIMCOURIER_EMAIL_URL", SECRET),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable_and_not_shown(variable: str, value: str) -> None:
    text = refusal({variable: value})

    assert text.startswith(variable)
    assert value not in text
    assert SECRET not in text


@pytest.mark.parametrize(
    ("variable", "value", "hint"),
    [
        ("SIMCOURIER_EMAIL_FROM", "nobody", "NAME@DOMAIN"),
        ("SIMCOURIER_EMAIL_FROM", "root@", "NAME@DOMAIN"),
        ("SIMCOURIER_EMAIL_FROM", "a@example.org\nBcc: b@example.org", "NAME@DOMAIN"),
        ("SIMCOURIER_OPERATOR_EMAIL", "the operator", "NAME@DOMAIN"),
        ("SIMCOURIER_PUBLIC_URL", "results.example.org", "https://HOST"),
        ("SIMCOURIER_PUBLIC_URL", "http://", "https://HOST"),
        ("SIMCOURIER_LOCAL_CLOUD_PUBLIC_URL", "ftp://example.org", "https://HOST"),
        ("SIMCOURIER_EMAIL_URL", "smtp://", "smtp://HOST:PORT"),
        ("SIMCOURIER_RESULTS_ROOTS", "/srv,results", "beginning with /"),
        ("SIMCOURIER_BROKER_URL", "amqp://one,two,", "without a host"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_expected(variable: str, value: str, hint: str) -> None:
    text = refusal({variable: value})

    assert text.startswith(variable)
    assert hint in text
    assert len(text.splitlines()) == 1


def test_the_nodes_of_a_cluster_may_have_ports_of_their_own() -> None:
    url = "amqp://user:pass,word@one:5673,two,three:5674/sims"

    assert load({"SIMCOURIER_BROKER_URL": url}).broker_url.get_secret_value() == url


def test_a_sender_may_have_a_name() -> None:
    settings = load({"SIMCOURIER_EMAIL_FROM": "The results <results@example.org>"})

    assert settings.email_from == "The results <results@example.org>"


def test_the_default_sender_is_an_address_whatever_the_user_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "GROUP\\anna bell")

    assert load({}).email_from == "simcourier@localhost"


@pytest.mark.parametrize("field", SECRETS)
def test_a_secret_shows_neither_in_repr_nor_in_str(field: str) -> None:
    scheme = {"broker_url": "amqp", "database_url": "postgresql", "email_url": "smtp"}.get(field, "key")
    settings = load({f"{PREFIX}{field.upper()}": f"{scheme}://user:{SECRET}@host/x"})

    assert SECRET in getattr(settings, field).get_secret_value()
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_results_roots_must_be_set_with_rabbitmq() -> None:
    amqp = {"SIMCOURIER_BROKER_URL": "amqp://host"}

    require_roots(load({}))
    require_roots(load(amqp | {"SIMCOURIER_RESULTS_ROOTS": "/srv"}))
    with pytest.raises(WrongSetting, match="SIMCOURIER_RESULTS_ROOTS must be set"):
        require_roots(load(amqp))


def test_the_prefix_names_the_exchange() -> None:
    assert load({"SIMCOURIER_BROKER_PREFIX": "trial"}).topology.exchange == "trial.events.v1"


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_a_mistyped_name_is_refused_with_the_name_that_was_meant() -> None:
    with pytest.raises(WrongSetting, match="SIMCOURIER_BROKER_ULR is no setting; did you mean SIMCOURIER_BROKER_URL"):
        load({"SIMCOURIER_BROKER_ULR": "amqp://somewhere"})


def test_a_name_that_is_like_none_is_refused_without_a_guess() -> None:
    with pytest.raises(WrongSetting, match=r"SIMCOURIER_NOSUCH is no setting; docs/settings\.md lists the settings\."):
        load({"SIMCOURIER_NOSUCH": "1"})


def test_variables_of_the_storage_server_and_of_the_tests_are_left_to_them() -> None:
    load({"SIMCOURIER_LOCAL_CLOUD_FOLDER": "/srv/results", "SIMCOURIER_TEST_AMQP_URL": "amqp://localhost"})
