"""Uploads a file with tuspy: ``python -m tests.support.tuspy_upload ORDER``; see `tests.support.tus_clients`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError
from tusclient.storage.filestorage import FileStorage

from tests.support.tus_clients import Order, Told

WHOLE = sys.maxsize


def upload(order: Order) -> Told:
    """Do it."""
    client = TusClient(order.endpoint, headers=order.headers)
    storage = FileStorage(order.storage) if order.storage else None  # type: ignore[no-untyped-call]
    uploader = client.uploader(
        order.file,
        chunk_size=order.chunk or WHOLE,
        metadata=order.metadata,
        retries=order.retries,
        retry_delay=0,
        store_url=storage is not None,
        url_storage=storage,
        upload_checksum=order.checksum,
    )
    offset = uploader.offset
    resumed = offset if offset < Path(order.file).stat().st_size else None
    try:
        uploader.upload()
    except TusCommunicationError as error:
        return Told(uploader.url, resumed, error.status_code, str(error) or type(error).__name__)
    return Told(uploader.url, resumed, None, None)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(upload(Order(**json.loads(sys.argv[1]))))))
