"""A storage plugin for SimCourier: archives in a bucket of S3, or of anything that speaks its protocol.

Source of the rules: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html (multipart upload limits) and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ShareObjectPreSignedURL.html (links end after seven days).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

import boto3
import requests
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, SecretStr

from simcourier.plugins import (
    Archive,
    Backend,
    BackendError,
    Link,
    PermanentError,
    Progress,
    Status,
    Stored,
    TransientError,
)

SERVICE = "S3"
SMALLEST_PART = 5 * 1024 * 1024
MOST_PARTS = 10_000
LONGEST_LINK = timedelta(days=7)
READABLE = 100  # characters of the archive's name that are repeated in the object's key

NOT_THERE = {"NoSuchKey", "NoSuchUpload", "404", "NotFound"}
TRY_AGAIN = {"SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "RequestTimeTooSkewed", "429"}
DEFINITION = {
    "AccessDenied": "does not allow this to the access key",
    "AllAccessDisabled": "has disabled the account",
    "ExpiredToken": "says that the credentials have expired",
    "InvalidAccessKeyId": "does not know the access key",
    "NoSuchBucket": "does not know the bucket",
    "QuotaExceeded": "has no room left for this account",
    "SignatureDoesNotMatch": "does not accept the secret access key",
    "403": "does not accept the credentials",
}


def _one_word(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", secret.get_secret_value()):
        raise ValueError("one word without blanks and line ends is expected")
    return secret


class Config(BaseModel):
    """Which bucket, and how to sign in. What is secret is a `SecretStr`, so that it cannot be printed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    access_key_id: str = Field(pattern=r"^[!-~]+$")
    secret_access_key: Annotated[SecretStr, AfterValidator(_one_word)]
    region: str = Field(default="us-east-1", pattern=r"^[a-z0-9-]+$")
    endpoint: str | None = Field(default=None, pattern=r"^https?://")
    prefix: str = Field(default="simcourier/", max_length=200)


class S3(Backend[Config]):
    """Archives as objects of a bucket."""

    identifier = "s3"
    Config = Config
    token_field = "secret_access_key"  # noqa: S105 - the name of a field

    def __init__(self, config: Config, http: requests.Session) -> None:
        super().__init__(config, http)
        self._s3 = boto3.client(
            "s3",
            region_name=config.region,
            endpoint_url=config.endpoint,
            aws_access_key_id=config.access_key_id,
            aws_secret_access_key=config.secret_access_key.get_secret_value(),
            # SimCourier decides about trying again: it may take days, and must survive this process.
            config=BotoConfig(
                signature_version="s3v4",
                retries={"total_max_attempts": 1},
                connect_timeout=10,
                read_timeout=300,  # to complete an upload of many parts may take minutes
            ),
        )

    def check(self) -> Status:
        """Look for the bucket. The service does not say how much room is left."""
        with _meant():
            self._s3.list_objects_v2(Bucket=self.config.bucket, MaxKeys=1)  # HEAD would not say what is wrong
        return Status(account=f"bucket {self.config.bucket} at {self.config.endpoint or 'AWS'}")

    def store(self, archive: Archive, progress: Progress) -> Stored:
        """Send it: in one request if it fits into a part, else in parts, going on where an earlier try stopped."""
        key = self._key(archive.key)
        with _meant():
            completed = self._completed(key, progress)
            if completed is not None:
                return Stored(key=archive.key, size=completed)
            upload, sent = self._resumed(key, progress)
            if upload is None and archive.size is not None and archive.size <= SMALLEST_PART:
                size = self._put(archive, key, progress)
            else:
                size = self._put_parts(archive, key, progress, upload, sent)
            held = self._s3.head_object(Bucket=self.config.bucket, Key=key)["ContentLength"]
        if held != size:
            raise TransientError(f"{SERVICE} holds {held} bytes, {size} were sent.")
        return Stored(key=archive.key, size=size)

    def link(self, stored: Stored, expires: AwareDatetime | None) -> Link:
        """A presigned address. It ends after seven days at the latest: that is the protocol's limit."""
        key, now = self._key(stored.key), datetime.now(UTC)
        ends = min(expires, now + LONGEST_LINK) if expires else now + LONGEST_LINK
        seconds = max(1, int((ends - now).total_seconds()))
        with _meant():
            self._s3.head_object(Bucket=self.config.bucket, Key=key)
            url = self._s3.generate_presigned_url(
                "get_object",
                Params={"Bucket": self.config.bucket, "Key": key, "ResponseContentDisposition": _attachment(stored)},
                ExpiresIn=seconds,
            )
        return Link(url=url, expires=now + timedelta(seconds=seconds))

    def delete(self, stored: Stored) -> None:
        """Remove the object, and the parts of uploads that were never completed."""
        bucket, key = self.config.bucket, self._key(stored.key)
        with _meant():
            self._s3.delete_object(Bucket=bucket, Key=key)
            for upload in self._s3.list_multipart_uploads(Bucket=bucket, Prefix=key).get("Uploads", []):
                self._s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    def _key(self, key: str) -> str:
        """The object's key: short enough and free of surprises whatever the archive is called, and always the same."""
        readable = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in key.rpartition("/")[2])
        return (
            f"{self.config.prefix}{hashlib.sha256(key.encode()).hexdigest()}/{readable[-READABLE:].strip('.') or '_'}"
        )

    def _completed(self, key: str, progress: Progress) -> int | None:
        """The size, where an earlier try had sent all and only the last answer was lost."""
        size = (progress.checkpoint or {}).get("size")
        if size is None:
            return None
        try:
            held = self._s3.head_object(Bucket=self.config.bucket, Key=key)["ContentLength"]
        except ClientError as error:
            if error.response["Error"]["Code"] in NOT_THERE:
                return None
            raise
        return int(size) if held == size else None

    def _resumed(self, key: str, progress: Progress) -> tuple[str | None, list[dict[str, Any]]]:
        """The upload of the checkpoint and the parts that the service says it has; it knows better than we do."""
        upload = str(progress.checkpoint["upload"]) if progress.checkpoint else None
        if upload is None:
            return None, []
        pages = self._s3.get_paginator("list_parts").paginate(Bucket=self.config.bucket, Key=key, UploadId=upload)
        try:
            parts = [part for page in pages for part in page.get("Parts", [])]
        except ClientError as error:
            if error.response["Error"]["Code"] in NOT_THERE:  # completed, aborted or forgotten: start again
                return None, []
            raise
        whole = []
        for number, part in enumerate(parts, 1):
            if (part["PartNumber"], part["Size"]) != (number, _part(number)):
                break
            whole.append(part)
        return upload, whole

    def _put(self, archive: Archive, key: str, progress: Progress) -> int:
        with archive.open() as source:
            body = _read(source, SMALLEST_PART + 1)
        _expect(archive, len(body), whole=True)
        progress.ensure()
        self._s3.put_object(Bucket=self.config.bucket, Key=key, Body=bytes(body))
        return len(body)

    def _put_parts(
        self, archive: Archive, key: str, progress: Progress, upload: str | None, sent: list[dict[str, Any]]
    ) -> int:
        if upload is None:
            upload = str(self._s3.create_multipart_upload(Bucket=self.config.bucket, Key=key)["UploadId"])
        done = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in sent]
        size = sum(part["Size"] for part in sent)
        progress.save({"upload": upload}, size)
        with archive.open(size) as source:
            while body := _read(source, _part(len(done) + 1)):
                number = len(done) + 1
                if number > MOST_PARTS:
                    raise PermanentError(f"The archive is larger than the {MOST_PARTS} parts that {SERVICE} takes.")
                answer = self._s3.upload_part(
                    Bucket=self.config.bucket, Key=key, UploadId=upload, PartNumber=number, Body=body
                )
                done.append({"PartNumber": number, "ETag": answer["ETag"]})
                size += len(body)
                _expect(archive, size, whole=False)
                progress.save({"upload": upload}, size)
        _expect(archive, size, whole=True)
        progress.ensure()
        if not done:  # an upload without parts cannot be completed
            self._s3.put_object(Bucket=self.config.bucket, Key=key, Body=b"")
            self._s3.abort_multipart_upload(Bucket=self.config.bucket, Key=key, UploadId=upload)
            return 0
        progress.save({"upload": upload, "size": size}, size)
        progress.ensure()
        self._s3.complete_multipart_upload(
            Bucket=self.config.bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": done}
        )
        return size


def _part(number: int) -> int:
    """Bytes of a part: small at first, larger later, so that 10,000 of them hold some 270 GB."""
    return SMALLEST_PART * (1 + number // 1000)


def _read(source: BinaryIO, most: int) -> bytearray:
    """Up to ``most`` bytes; fewer only at the end. A piece may be shorter than asked for: the archive still grows."""
    body = bytearray()
    while len(body) < most and (piece := source.read(min(most - len(body), 1024 * 1024))):
        body += piece
    return body


def _expect(archive: Archive, got: int, *, whole: bool) -> None:
    size = archive.size
    if size is not None and got > size:
        raise TransientError(f"The archive is longer than the {size} bytes it was said to have.")
    if size is not None and whole and got != size:
        raise TransientError(f"The archive ended after {got} of {size} bytes.")


def _attachment(stored: Stored) -> str:
    """The archive's own name for who downloads it (RFC 6266)."""
    return "attachment; filename*=UTF-8''" + quote(stored.key.rpartition("/")[2], safe="")


@contextmanager
def _meant() -> Iterator[None]:
    """What the service's errors mean."""
    try:
        yield
    except ClientError as error:
        raise _error_of(error) from error
    except BotoCoreError as error:  # no answer: its text may hold the address, never a secret
        raise TransientError(f"{SERVICE} cannot be reached ({type(error).__name__}).") from error


def _error_of(error: ClientError) -> BackendError:
    code, answer = error.response["Error"]["Code"], error.response["ResponseMetadata"]
    status = answer.get("HTTPStatusCode", 0)
    if code in DEFINITION:
        return PermanentError(f"{SERVICE} {DEFINITION[code]} ({code}).", scope="backend")
    if code in TRY_AGAIN or status >= 500 or status == 429:  # noqa: PLR2004 - RFC 9110 and RFC 6585
        wait = str(answer.get("HTTPHeaders", {}).get("retry-after", ""))
        return TransientError(f"{SERVICE} asks to try again later ({code}).", float(wait) if wait.isdigit() else None)
    return PermanentError(f"{SERVICE} refused the request ({code}).")
