"""The tables of docs/security.md: what is limited, what somebody may attempt, and what the answer is."""

from __future__ import annotations

import ast
import json
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pika.exceptions import NackError

from consumer.collect import LONGEST_NAME, MOST_FILES, collect, look, too_long, too_many
from consumer.errors import Undeliverable
from consumer.packing.names import member_name
from consumer.remote import allowed
from messaging.connect import connect
from messaging.engine import BrokerError, Outgoing
from messaging.locations import WrongLocation, parse
from messaging.messages import InvalidMessage, Results, parse_event
from messaging.rabbitmq_link import Address, spoken
from messaging.roots import NoRoot, roots_for
from messaging.topology import Topology
from tests.support.events import event

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Limit:
    """Something from outside that may be so large, and what is answered where it is larger."""

    what: str
    limit: str
    answer: Callable[[], str]


@dataclass(frozen=True)
class Attempt:
    """What somebody may try; ``shown`` gives the answer, or names the test that shows it (file and name)."""

    attempt: str
    answer: str
    shown: Callable[[], str] | tuple[str, str]


def _refused(**data: Any) -> str:
    """What the sentence is for an event with these fields."""
    document = json.loads(event().to_bytes())
    document["data"] |= data
    return _told(lambda: parse_event(json.dumps(document).encode()), InvalidMessage)


def _told(call: Callable[[], object], error: type[Exception]) -> str:
    try:
        call()
    except error as refused:
        return str(refused)
    return "It was accepted."


def _too_large() -> str:
    body = b"x" * (Topology().max_bytes + 1)
    publisher = connect("amqp://user:word@host/", Topology()).publisher()
    return _told(lambda: publisher.publish(Outgoing("simulation.completed.single", body, "1")), BrokerError)


def _full() -> str:
    """What is said of a message that RabbitMQ does not take; a row of test_engine_conformance.py fills a queue."""
    return str(spoken(NackError([]), Address("amqp://user:word@host/")))


def _located(location: str, *roots: str) -> str:
    return _told(lambda: collect(Results(location=location), roots), Undeliverable)


def _linked() -> str:
    """What is said of a link in somebody's results to a file elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder, "results").resolve()
        results.mkdir()
        (results / "own.csv").touch()
        (results / "link.csv").symlink_to("/etc/hostname")
        return look(results).left_out[0]


def _of_pipe() -> str:
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder).resolve()
        (results / "own.csv").touch()
        os.mkfifo(results / "pipe")
        return look(results).left_out[0]


RIGHTS = "tests/integration/test_rabbitmq_rights.py"
MANY = {f"key {number}": 1 for number in range(201)}

LIMITS = (
    Limit("a message", f"{Topology().max_bytes} bytes", _too_large),
    Limit("messages in a queue", f"{Topology().max_length}", _full),
    Limit("simulation id, and each identifier", "200 characters", lambda: _refused(simulation_id="x" * 201)),
    Limit("title, simulator, host", "200 characters", lambda: _refused(title="x" * 201)),
    Limit("configuration, parameters of a study", "200 entries", lambda: _refused(configuration=MANY)),
    Limit("labels", "50", lambda: _refused(labels={f"{number}": "x" for number in range(51)})),
    Limit("recipients", "100", lambda: _refused(recipients=[f"a{number}@example.org" for number in range(101)])),
    Limit("an address of a recipient", "254 characters", lambda: _refused(recipients=["a" * 250 + "@example.org"])),
    Limit("fallback backends", "10", lambda: _refused(fallback_backends=["x"] * 11)),
    Limit("the end of a log", "4000 characters", lambda: _refused(log_tail="x" * 4001)),
    Limit("location of results", "4096 characters", lambda: _refused(results={"location": "file:///" + "x" * 4096})),
    Limit("patterns, each way", "100", lambda: _refused(results={"location": "file:///x", "include": ["*"] * 101})),
    Limit("a pattern", "500 characters", lambda: _refused(results={"location": "file:///x", "include": ["x" * 501]})),
    Limit("files and folders of results", f"{MOST_FILES}", lambda: too_many("/srv/results/run")),
    Limit("a name in results, with its folders", f"{LONGEST_NAME} bytes", lambda: too_long("x" * 10)),
)

ATTEMPTS = (
    # Whoever may publish.
    Attempt("results at `file:///srv/results/../../etc`", "must be an absolute path without '..'",
            lambda: _located("file:///srv/results/../../etc", "/srv/results")),
    Attempt("results at a folder outside the roots", "is outside the folders that results may come from",
            lambda: _located("file:///etc", "/usr")),
    Attempt("a link in one's results to a file elsewhere", "link.csv: a link that leads out of the results folder.",
            _linked),
    Attempt("a pipe or device among the results", "pipe: not a regular file.", _of_pipe),
    Attempt("a folder swapped for a link to another's between look and open", "nothing of it is read; another try",
            ("tests/unit/test_no_follow.py", "test_a_folder_swapped_for_a_link_between_look_and_open_gives_nothing")),
    Attempt("the same all the time, as fast as the machine can", "what lies behind the link is never read",
            ("tests/unit/test_no_follow.py",
             "test_a_folder_that_is_swapped_for_a_link_all_the_time_never_gives_what_lies_behind_it")),
    Attempt("another user's folder mailed to oneself, roots bound", "FAILED: outside the folders",
            ("tests/integration/test_rabbitmq_bound_roots.py", "test_nobody_has_another_s_folder_mailed_to_himself")),
    Attempt("the same with an event that names no publisher", "The broker does not say who published this event",
            lambda: _told(lambda: roots_for(["/home/{user}"], None), NoRoot)),
    Attempt("the same in another's name", "RabbitMQ closes the channel (406, user_id)",
            (RIGHTS, "test_a_simulator_cannot_speak_in_anothers_name")),
    Attempt("one's own root replaced by a link to another's folder", "is below a link of somebody who is neither root "
            "nor the worker's user",
            ("tests/unit/test_collect.py", "test_a_root_that_its_owner_has_replaced_by_a_link_reaches_nothing")),
    Attempt("a user called `..` where roots have `{user}`", "There is no folder that results of the broker's user",
            lambda: _told(lambda: roots_for(["/home/{user}"], ".."), NoRoot)),
    Attempt("a `link.ready` with a link of one's own", "the broker does not allow it",
            (RIGHTS, "test_a_simulator_can_send_no_other_message_than_its_events")),
    Attempt("the same by way of `CC` or `BCC`", "the mail that is owed, when it is due, with its link; else nothing",
            (RIGHTS, "test_a_message_that_a_simulator_has_routed_to_the_email_sender_makes_no_mail_and_no_link")),
    Attempt("a wake-up of one's own, likewise", "nothing is delivered twice",
            (RIGHTS, "test_a_wake_up_that_a_simulator_has_routed_is_the_event_it_is_and_delivers_nothing_twice")),
    Attempt("to read others' events, purge or delete queues", "the broker does not allow it (403)",
            (RIGHTS, "test_a_simulator_may_do_nothing_else")),
    Attempt("results at `http://169.254.169.254/latest`", "is below no address that results may come from",
            lambda: _told(lambda: allowed("http://169.254.169.254/latest", ["/srv"]), Undeliverable)),
    Attempt("`s3://bucket/a%2e%2e%2fb`", "an empty part, '.' or '..' in its path, or one that hides them",
            lambda: _told(lambda: parse("s3://bucket/a%2e%2e%2fb"), WrongLocation)),
    Attempt("`zip://x::file:///etc`", "which names no service",
            lambda: _told(lambda: parse("zip://x::file:///etc"), WrongLocation)),
    Attempt("a line break in a title (header of a mail)", "data.title: one line without control characters is expected",
            lambda: _refused(title="x\r\nBcc: all@example.org")),
    Attempt("the same written as an encoded word (RFC 2047)", "it stays text",
            ("tests/integration/test_mail_text.py", "test_no_title_makes_a_header_or_a_body_of_its_own")),
    Attempt("characters in a title or label that turn the direction of text (`report<U+202E>gpj.exe`), or that nobody "
            "sees", "are dropped as the message is read: reportgpj.exe",
            ("tests/unit/test_messages.py", "test_what_nobody_sees_in_a_text_of_others_does_not_arrive")),
    Attempt("the same in the names and texts of results", "a replacement character is shown where they were",
            ("tests/unit/test_report_page.py", "test_what_nobody_sees_in_results_is_shown_as_something")),
    Attempt("a message in UTF-16", "The body is no JSON in UTF-8: it holds NUL bytes",
            lambda: _told(lambda: parse_event(event().to_bytes().decode().encode("utf-16")), InvalidMessage)),
    Attempt("a second address, or a header, in a recipient", "a mail address such as anna@example.org is expected",
            lambda: _refused(recipients=["a@b.example\nBcc: c@d.example"])),
    Attempt("HTML in a title or a file's name, in a mail", "it stays text",
            ("tests/integration/test_mail_text.py", "test_html_in_a_title_or_a_file_name_stays_text")),
    Attempt("the same in the report", "nothing runs, nothing is fetched",
            ("tests/e2e/test_report_browser.py",
             "test_a_report_with_hostile_names_runs_nothing_fetches_nothing_and_fits_the_screen")),
    Attempt("the same in the admin", "it stays text, and the policy of the site forbids what is inline",
            ("tests/e2e/test_admin_browser.py", "test_no_page_needs_what_the_content_security_policy_forbids")),
    Attempt("escape sequences in titles, names, reasons, for a terminal", "shown as `\\x1b`",
            ("tests/integration/test_terminal_output.py", "test_nothing_that_others_wrote_steers_the_terminal")),
    Attempt("the same in answers of services and mail servers, on pages and in mails", "written down as `\\x1b`",
            ("tests/integration/test_terminal_output.py",
             "test_no_page_and_no_mail_is_given_what_steers_a_terminal")),
    Attempt("line breaks in values, to forge lines of a log", "they are shown as `\\n`",
            ("tests/unit/test_terminal.py", "test_no_log_line_steers_a_terminal_or_begins_another_line")),
    Attempt("a file called `..\\..\\evil.dll`", "..%5C..%5Cevil.dll", lambda: member_name("..\\..\\evil.dll")),
    Attempt("an event's id used again with another body", "set aside as a dead letter",
            ("tests/integration/test_ledger_deliveries.py",
             "test_the_same_id_with_another_body_is_refused_by_record_and_claim")),
    Attempt("JSON nested 100,000 deep", "The body is no JSON",
            lambda: _told(lambda: parse_event(b"[" * 100_000), InvalidMessage)),
    Attempt("a pickle, YAML, or Python for `eval`", "nothing of ours reads them",
            ("tests/unit/test_supply.py", "test_bytes_of_others_become_objects_as_json_only")),
    # Whoever is on the network.
    Attempt("a broker of another authority", "is not trusted: its certificate is not from an authority known here",
            ("tests/integration/test_tls.py", "test_a_broker_of_an_unknown_authority_is_not_trusted")),
    Attempt("a broker with the certificate of another host", "is not trusted: its certificate is for another host",
            ("tests/integration/test_tls.py", "test_a_certificate_for_another_host_is_not_trusted")),
    Attempt("`?verify=verify_none`, `ssl_options` in an address", "certificate and host name are always verified",
            lambda: _told(lambda: connect("amqps://u:w@h/?verify=verify_none", Topology()), BrokerError)),
    Attempt("a mail server of another authority", "the mail waits, the password is not sent",
            ("tests/integration/test_tls.py", "test_a_mail_server_is_verified")),
    Attempt("guessing a password of the site", "Too many attempts to sign in. Wait 15 minutes and try again.",
            ("tests/integration/test_sign_in.py",
             "test_after_five_wrong_passwords_the_right_one_does_not_help_from_there")),
    Attempt("many guesses at once", "no more of them",
            ("tests/integration/test_sign_in.py", "test_many_guesses_at_once_are_no_more_guesses")),
    Attempt("the admin without signing in", "the login",
            ("tests/e2e/test_web_security.py", "test_the_admin_is_behind_the_login_only")),
    Attempt("a form from another site (CSRF)", "403",
            ("tests/e2e/test_web_security.py", "test_a_form_of_another_site_is_not_taken")),
    Attempt("the site in a frame, scripts from elsewhere", "the browser is told not to",
            ("tests/e2e/test_web_security.py", "test_every_answer_tells_the_browser_what_it_may_not_do_with_it")),
    Attempt("a login that leads elsewhere (`next=//evil`)", "it leads to the front page of the site",
            ("tests/e2e/test_web_security.py", "test_the_login_sends_nobody_elsewhere")),
    Attempt("`X-Forwarded-For`, to guess on from another address each time",
            "is heard from proxies that the settings name",
            ("tests/integration/test_sign_in.py",
             "test_without_a_proxy_in_the_settings_nobody_is_believed_to_come_from_elsewhere")),
    Attempt("`X-Forwarded-Proto`, from anybody", "is heard from proxies that the settings name",
            ("tests/integration/test_sign_in.py",
             "test_without_a_proxy_in_the_settings_nobody_is_believed_how_a_request_came")),
    Attempt("another Host header", "400, and it is not repeated",
            ("tests/e2e/test_web_security.py",
             "test_a_request_for_another_host_is_refused_in_a_sentence_that_does_not_repeat_it")),
    Attempt("a session's cookie without TLS", "it is sent by TLS only, and ends with the browser or after 12 hours",
            ("tests/e2e/test_web_security.py",
             "test_cookies_travel_by_tls_only_and_end_with_the_browser_or_after_twelve_hours")),
    Attempt("a storage server's file without its link", "links hold 192 random bits",
            ("tests/integration/test_local_cloud.py", "test_a_link_cannot_be_guessed_from_another_one")),
    Attempt("another key's files on the storage server", "404",
            ("tests/integration/test_local_cloud_keys.py",
             "test_nobody_sees_links_replaces_or_deletes_what_another_key_has_stored")),
    # Whoever reads what we write.
    Attempt("secrets in logs, mails, the ledger, what commands print", "none, also where a service repeats them",
            ("tests/e2e/test_secrets.py", "test_no_secret_is_anywhere_but_where_it_belongs")),
    Attempt("secrets in a dump of the definitions", "they are encrypted",
            ("tests/integration/test_site.py", "test_a_dump_of_the_definitions_holds_no_secret_and_can_be_loaded")),
)  # fmt: skip


def limits_table() -> list[str]:
    """Lines of the table of limits."""
    return ["| what | at most | beyond that |", "|---|---|---|"] + [
        f"| {one.what} | {one.limit} | {_cell(one.answer())} |" for one in LIMITS
    ]


def attempts_table() -> list[str]:
    """Lines of the table of attempts."""
    return ["| attempt | answer | shown by |", "|---|---|---|"] + [
        f"| {_cell(one.attempt)} | {_cell(one.answer)} | {_where(one)} |" for one in ATTEMPTS
    ]


def exists(file: str, name: str) -> bool:
    """Whether the file has a test of this name."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)


def takes_long(file: str, name: str) -> bool:
    """Whether the test runs with ``scripts/test --full`` only."""
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    marks = [
        ast.unparse(mark)
        for node in tree.body
        for mark in (
            [node.value]
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
            else node.decorator_list
            if isinstance(node, ast.FunctionDef) and node.name == name
            else []
        )
    ]
    return any(re.search(r"(?<!marks=)pytest\.mark\.full\b", mark) for mark in marks)


def _where(one: Attempt) -> str:
    if callable(one.shown):
        return "`test_security_table.py`"
    return f"`{one.shown[0].rpartition('/')[2]}`{'*' if takes_long(*one.shown) else ''}"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")
