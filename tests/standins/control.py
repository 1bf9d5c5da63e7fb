"""The other door of a stand-in: a plain HTTP port through which a test sets faults and looks inside."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Action = Callable[[Any], Any]


def serve_control(actions: Mapping[str, Action]) -> int:
    """Serve ``POST /<action>`` with a JSON body and a JSON answer on a free port; returns the port."""

    class Control(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            action = actions.get(self.path.strip("/"))
            try:
                answer, status = (action(json.loads(body or b"null")), 200) if action else ("no such action", 404)
            except (ValueError, TypeError, KeyError) as error:
                answer, status = repr(error), 400
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Control)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])
