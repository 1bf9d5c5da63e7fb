"""Addresses of results on a service: what is one, and what lies below what."""

from __future__ import annotations

import pytest

from messaging.locations import WrongLocation, parse


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("s3://bucket/runs/7", "s3://bucket/runs"),
        ("s3://bucket/runs/7/", "s3://bucket/runs/"),
        ("s3://bucket/runs", "s3://bucket/runs"),
        ("s3://bucket/runs", "s3://bucket"),
        ("s3://bucket", "s3://bucket/"),
        ("sftp://anna@host:2222/srv/runs", "sftp://anna@host:2222/srv"),
        ("https://host/runs/50%25 done ä", "https://host/runs"),
    ],
)
def test_a_folder_lies_below_its_prefix(url: str, root: str) -> None:
    assert parse(url).is_below(parse(root))


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("s3://bucket/runs-of-others", "s3://bucket/runs"),
        ("s3://bucket/run", "s3://bucket/runs"),
        ("s3://bucket2/runs", "s3://bucket"),
        ("s3a://bucket/runs", "s3://bucket"),
        ("http://host/runs", "https://host"),
        ("https://host:8443/runs", "https://host"),
        ("https://host.evil.example/runs", "https://host"),
        ("sftp://root@host/srv/runs", "sftp://anna@host/srv"),
        ("sftp://anna@host/srv/runs", "sftp://host/srv"),
        ("s3://bucket/Runs/7", "s3://bucket/runs"),
    ],
)
def test_another_folder_bucket_protocol_host_port_or_user_does_not(url: str, root: str) -> None:
    assert not parse(url).is_below(parse(root))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://bucket/runs/../secret", r"'\.\.'"),
        ("s3://bucket/runs/./7", r"'\.'"),
        ("s3://bucket//runs", "empty part"),
        ("https://host/runs/%2e%2e/secret", "hides"),
        ("https://host/runs/%252e%252E/secret", "hides"),
        ("https://host/runs/..%2fsecret", "hides"),
        ("https://host/runs/%5c..%5csecret", "hides"),
        ("https://host/runs/a%00b", "hides"),
        ("https://host/runs/..\\secret", "no place"),
        ("https://host/runs?at=http://169.254.169.254/", "no place"),
        ("https://host/runs#x", "no place"),
        ("https://ho%73t/runs", "no place"),
        ("zip://a.zip::file:///etc", "no service"),
        ("s3://a.zip::file:///etc", "no place"),
        ("local://x/etc", "no service"),
        ("memory://x/y", "no service"),
        ("s3:///etc", "no host or bucket"),
        ("s3:bucket/runs", "no address"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(url: str, told: str) -> None:
    with pytest.raises(WrongLocation, match=told):
        parse(url)


@pytest.mark.parametrize(
    "url",
    ["s3://key:canary@bucket/x", "ftp://anna:canary@host/x", "https://host@anna:canary@host/x", "ftp://:canary@host/x"],
)
def test_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(WrongLocation, match="password") as raised:
        parse(url)

    assert "canary" not in str(raised.value)
