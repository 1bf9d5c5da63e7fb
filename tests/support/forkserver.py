"""The server of `tests.support.forked`: ``python -m tests.support.forkserver SOCKET``."""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import json
import os
import runpy
import signal
import socket
import sys
import threading
import traceback
from typing import Any

MOST = 1024 * 1024
# What the roles import that is neither ours nor looks at the environment when it is imported, as Dropbox's does.
LIBRARIES = (
    "aiohttp.web", "click", "cryptography.fernet", "django.contrib.admin", "django.core.management",
    "django.db.backends.postgresql.base", "django.db.backends.sqlite3.base", "django.template.backends.django",
    "fsspec", "gunicorn.app.base", "isal.igzip_lib", "jinja2", "numpy", "pika", "platformdirs", "psycopg",
    "pydantic", "requests", "structlog", "whitenoise.middleware", "zlib_ng.zlib_ng",
)  # fmt: skip


def serve(requests: socket.socket) -> dict[str, Any] | None:
    """Answer until the other end is closed: then None; in a child: what it is to run."""
    children: set[int] = set()
    while True:
        message, handles, _, _ = socket.recv_fds(requests, MOST, 2)
        if not message:
            break
        request = json.loads(message)
        if "reap" in request:
            _, status = os.waitpid(request["reap"], 0)
            children.discard(request["reap"])
            requests.send(json.dumps({"code": os.waitstatus_to_exitcode(status)}).encode())
            continue
        pid = os.fork()
        if pid == 0:
            requests.close()
            become(request["env"], handles)
            return dict(request)
        children.add(pid)
        for handle in handles:
            os.close(handle)
        requests.send(json.dumps({"pid": pid}).encode())
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None


def become(environ: dict[str, str], handles: list[int]) -> None:
    """A process as it is right after its start."""
    os.environ.clear()
    os.environ.update(environ)
    for handle, number in zip(handles, (1, 2), strict=True):
        os.dup2(handle, number)
        os.close(handle)
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", "backslashreplace", write_through=True)


def run(module: str) -> int:
    """Run it as ``python -m`` does; its exit code."""
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as told:
        if told.code is None or isinstance(told.code, int):
            return told.code or 0
        print(told.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001, what Python itself does last
        traceback.print_exc()
        return 1
    return 0


def end(code: int) -> None:
    """What Python does at its end, but for taking every imported module apart, which takes longer than the fork."""
    threading._shutdown()  # type: ignore[attr-defined] # joins threads and the pools'; no public name does
    atexit._run_exitfuncs()
    os._exit(code)


if __name__ == "__main__":
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()  # a collection in a child would touch, and so copy, every page
    command = serve(socket.socket(fileno=int(sys.argv[1])))
    if command is not None:
        sys.argv = [command["module"], *command["arguments"]]
        end(run(command["module"]))
