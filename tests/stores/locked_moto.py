"""moto's S3 server, with one conditional write at a time.

moto looks whether a key is there and then writes it, so that of two threads both may win. A store that honours
`If-None-Match` does not let that happen, and the checks of many runs at once are about such a store.
"""

import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple


class Quiet(WSGIRequestHandler):
    """Keeps connections open, as stores do, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        pass


class OneAtATime:
    """A WSGI application whose conditional requests wait for each other."""

    def __init__(self, app):
        self.app = app
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        if "HTTP_IF_NONE_MATCH" not in environ:
            return self.app(environ, start_response)
        with self.lock:
            return list(self.app(environ, start_response))


if __name__ == "__main__":
    app = DomainDispatcherApplication(create_backend_app)
    run_simple("127.0.0.1", int(sys.argv[1]), OneAtATime(app), threaded=True, request_handler=Quiet)
