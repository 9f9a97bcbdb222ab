"""The stores that the program is checked against, each in a process of its own on a free port of the loopback."""

import http.client
import http.server
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import boto3
from azure.storage.blob import BlobServiceClient
from botocore.config import Config

HERE = Path(__file__).resolve().parent

# Azurite's account, which its documentation names; no secret.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

BUCKET = "evidence"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A process that answers on a port until it is stopped."""

    running = []

    def __init__(self, name, command, folder):
        self.name = name
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{name}.log"
        command = [str(word).replace("PORT", str(self.port)) for word in command]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        Server.running.append(self)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{name} does not start:\n{self.log.read_text()}") from None
                time.sleep(0.05)

    @classmethod
    def stop_all(cls):
        while cls.running:
            cls.running.pop().stop()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class S3(Server):
    """A server that speaks S3. It has one bucket, `BUCKET`."""

    scheme = "s3"

    def __init__(self, name, command, folder, key, secret):
        super().__init__(name, command, folder)
        self.key, self.secret = key, secret
        self.client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )
        self.client.create_bucket(Bucket=BUCKET)

    def environment(self, proxy=None):
        """What the program is told; `proxy` stands before the server."""
        return {
            "AWS_ENDPOINT_URL": proxy.endpoint if proxy else self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
        }

    def put(self, key, data):
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data)

    def get(self, key):
        return self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()

    def keys(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return sorted(found["Key"] for page in pages for found in page.get("Contents", []))

    def uploads(self):
        """Keys of the uploads that were begun and neither completed nor aborted."""
        try:
            listed = self.client.list_multipart_uploads(Bucket=BUCKET)
        except self.client.exceptions.NoSuchUpload:  # rclone's word for none
            return []
        return [upload["Key"] for upload in listed.get("Uploads", [])]


class Moto(S3):
    """Honours `If-None-Match`, checks no signature."""

    def __init__(self, folder):
        super().__init__("moto", [sys.executable, HERE / "locked_moto.py", "PORT"], folder, "moto", "moto-secret")


class Rclone(S3):
    """Ignores `If-None-Match` and `If-Match`, checks signatures.

    It answers a request for a range with status 200 and that range, which clients must not accept; S3 says 206. So
    there is a `StatusOfRanges` before it.
    """

    def __init__(self, folder):
        root = folder / "rclone"
        root.mkdir()
        rclone = Path(sys.executable).parent / "rclone"
        key, secret = "rclone-key", "rclone-secret"
        command = [rclone, "serve", "s3", "--addr", "127.0.0.1:PORT", "--auth-key", f"{key},{secret}", root]
        super().__init__("rclone", command, folder, key, secret)
        self.mended = StatusOfRanges(self.port)
        self.port = self.mended.server_port
        self.endpoint = self.mended.endpoint

    def stop(self):
        self.mended.stop()
        super().stop()


class StatusOfRanges(http.server.ThreadingHTTPServer):
    """Passes requests on, and makes answers that have a `Content-Range` ones of status 206.

    Before each request it calls `before` with method and path.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), PassOn)
        self.target = target
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.before = lambda method, path: None
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()

    def handle_error(self, *_):
        """A client that was killed in the middle of a request is what is wanted here."""


class PassOn(http.server.BaseHTTPRequestHandler):
    """One connection of `StatusOfRanges`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def pass_on(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        self.server.before(self.command, self.path)
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.target, timeout=60)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body)
        answer = upstream.getresponse()
        content = answer.read()
        is_part = answer.status == 200 and answer.headers.get("Content-Range")
        self.send_response_only(206 if is_part else answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        told = answer.headers.get("Content-Length")
        self.send_header("Content-Length", told if self.command == "HEAD" and told else str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        upstream.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = pass_on

    def log_message(self, *_):
        pass


class Azurite(Server):
    """Azure Blob Storage. It has one container, `BUCKET`."""

    scheme = "az"

    def __init__(self, folder, modules):
        program = modules / "azurite" / "dist" / "src" / "blob" / "main.js"
        options = ["--skipApiVersionCheck", "--disableTelemetry", "--silent", "--location", folder / "azurite"]
        command = ["node", program, "--blobHost", "127.0.0.1", "--blobPort", "PORT", *options]
        super().__init__("azurite", command, folder)
        self.endpoint += f"/{AZURE_ACCOUNT}"
        self.client = BlobServiceClient(self.endpoint, AZURE_KEY).create_container(BUCKET)

    def environment(self, proxy=None):
        """What the program is told; `proxy` stands before the server."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY,
            "AZURE_STORAGE_ENDPOINT": f"{proxy.endpoint}/{AZURE_ACCOUNT}" if proxy else self.endpoint,
        }

    def put(self, key, data):
        self.client.upload_blob(key, data, overwrite=True)

    def get(self, key):
        return self.client.download_blob(key).readall()

    def keys(self, prefix):
        return sorted(self.client.list_blob_names(name_starts_with=prefix))

    def uploads(self):
        """None: a blob's blocks that were never put together are nobody's to abort; Azure forgets them."""
        return []


class Proxy:
    """Passes TCP connections on, and counts the bytes of both ways."""

    def __init__(self, server):
        self.target = server.port
        self.sent = self.received = 0
        self.watch = None
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def at_sent(self, count, act):
        """Calls `act` once when the clients have sent so many bytes from now on."""
        with self.lock:
            self.watch = (self.sent + count, act)

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            for ends in ((client, server, True), (server, client, False)):
                threading.Thread(target=self.pump, args=ends, daemon=True).start()

    def pump(self, source, sink, is_sent):
        try:
            while data := source.recv(1 << 16):
                self.count(len(data), is_sent)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        if is_sent:
            return
        source.close()
        sink.close()

    def count(self, length, is_sent):
        act = None
        with self.lock:
            if is_sent:
                self.sent += length
                if self.watch and self.sent >= self.watch[0]:
                    act, self.watch = self.watch[1], None
            else:
                self.received += length
        if act:
            act()

    def stop(self):
        self.listener.close()
