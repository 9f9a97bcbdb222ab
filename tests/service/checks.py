"""Checks of the exports API. Each gets a rig and returns what it saw; a failed one raises."""

import base64
import hashlib
import json
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

from program import Failed

SECRET = "0123456789abcdef0123456789abcdef"
DAYS, ROWS = 4, 250
CATALOG = """version: 1
types:
  events: {source: {uri: data/}}
  large: {source: {uri: large/}, time: {column: occurred_at}, id: event_id}
"""
# A run without a heartbeat for this long is dead, and its job may be taken up.
ABANDONED_AFTER_SECONDS = 45


class Service:
    """A process of `serve`, stopped by its process id."""

    def __init__(self, rig, store, *args):
        words = ["serve", "--json", "--store", store, "--catalog", "catalog.yaml", "--keys", "keys.yaml"]
        words += ["--listen", "127.0.0.1:0", "--token-key-file", "token.key", *args]
        clean = {"PATH": "/usr/bin:/bin", "HOME": str(rig.program.home)}
        self.log = open(rig.folder / f"service-{len(rig.services)}.log", "wb")
        self.process = subprocess.Popen(
            [rig.program.binary, *words], cwd=rig.folder, env=clean, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log
        )
        rig.services.append(self)
        text = ""
        while not text.rstrip().endswith("}"):
            line = self.process.stdout.readline().decode()
            if not line:
                raise Failed(f"the service has ended: {Path(self.log.name).read_text()}")
            text += line
        self.url = f"http://{json.loads(text)['address']}"

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        return self.process.returncode


class Rig:
    """A folder with data, a catalog and keys."""

    def __init__(self, program, folder):
        self.program, self.folder, self.services = program, folder, []
        self.write_events("data", DAYS, ROWS)
        self.write_events("large", 2, 200_000)
        (folder / "catalog.yaml").write_text(CATALOG)
        (folder / "token.key").write_text(SECRET + "\n")
        made = program.call(folder, ["keys", "new", "--keys", "keys.yaml", "--id", "ci", "--types", "*", "--may", "create,read,download"])
        self.key = made.exits(0).stdout.strip()

    def write_events(self, name, days, rows):
        (self.folder / name).mkdir()
        for day in range(1, days + 1):
            with open(self.folder / name / f"2026-03-{day:02}.ndjson", "w") as out:
                for i in range(rows):
                    at = f"2026-03-{day:02}T{i % 24:02}:00:00Z"
                    out.write(f'{{"event_id":"{day}-{i}","occurred_at":"{at}","status":"blocked","n":{i}}}\n')

    def stop_all(self):
        for service in self.services:
            service.stop(signal.SIGKILL)

    def curl(self, *args):
        done = subprocess.run(["curl", "--silent", "--show-error", "--fail-with-body", *args], capture_output=True, cwd=self.folder)
        if done.returncode:
            raise Failed(f"curl {' '.join(args)}: exit {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}")
        return done.stdout

    def create(self, service, **request):
        body = json.dumps({"date_from": "2026-03-01", "date_to": f"2026-03-{DAYS:02}", **request})
        args = ["-H", f"x-api-key: {self.key}", "-H", "content-type: application/json", "-d", body]
        return json.loads(self.curl(*args, f"{service.url}/v1/exports"))

    def show(self, service, export):
        return json.loads(self.curl("-H", f"x-api-key: {self.key}", f"{service.url}/v1/exports/{export['id']}"))

    def ended(self, service, export, seconds=120):
        until = time.monotonic() + seconds
        while True:
            seen = self.show(service, export)
            if seen["status"] not in ("queued", "running", "abandoned"):
                return seen
            if time.monotonic() > until:
                raise Failed(f"has not ended after {seconds} s: {seen}")
            time.sleep(0.2)


def curl_fetches_what_sha256sum_finds_whole(rig):
    service = Service(rig, "store")
    export = rig.ended(service, rig.create(service, type="events", format="csv"))
    if (export["status"], export["total_rows"]) != ("complete", DAYS * ROWS):
        raise Failed(f"{export}")
    target = rig.folder / "fetched"
    for file in export["files"]:
        path = target / file["name"]
        path.parent.mkdir(parents=True)
        rig.curl("--location", "--output", str(path), service.url + file["download_url"])
        # An interrupted download is resumed.
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        rig.curl("--location", "--continue-at", "-", "--output", str(path), service.url + file["download_url"])
        if path.read_bytes() != whole:
            raise Failed(f"{file['name']} is another after it was resumed")
    auth = ["-H", f"x-api-key: {rig.key}"]
    for name, file in (("manifest", "manifest.json"), ("report", "report.html"), ("SHA256SUMS", "SHA256SUMS")):
        rig.curl(*auth, "--output", str(target / file), f"{service.url}/v1/exports/{export['job_id']}/{name}")
    sums = subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=target, capture_output=True, text=True)
    if sums.returncode:
        raise Failed(f"sha256sum: {sums.stdout}{sums.stderr}")
    if service.stop() != 143:
        raise Failed(f"the service ended with {service.process.returncode}")
    return f"{len(export['files'])} shards, {export['total_rows']} rows"


def tokens_are_the_codes_that_openssl_makes(rig):
    service = Service(rig, "store", "--workers", "0")
    export = rig.show(service, rig.create(service, type="events", format="csv"))
    for file in export["files"]:
        raw = base64.urlsafe_b64decode(file["download_token"] + "==")
        expiry, code = raw[:8], raw[8:]
        message = b"kt-export download token v1" + expiry
        for part in (uuid.UUID(export["id"]).bytes, file["name"].encode()):
            message += len(part).to_bytes(8, "big") + part
        (rig.folder / "message").write_bytes(message)
        key = f"hexkey:{SECRET.encode().hex()}"
        args = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", key, "-binary", "message"]
        made = subprocess.run(args, cwd=rig.folder, capture_output=True, check=True).stdout
        if made != code:
            raise Failed(f"{file['name']}: openssl gives {made.hex()}, the token has {code.hex()}")
    service.stop()
    return f"{len(export['files'])} tokens"


def a_key_is_kept_as_its_digest_alone(rig):
    text = (rig.folder / "keys.yaml").read_text()
    if hashlib.sha256(rig.key.encode()).hexdigest() not in text or rig.key in text:
        raise Failed(text)
    logs = b"".join(Path(service.log.name).read_bytes() for service in rig.services)
    for secret in (rig.key.encode(), SECRET.encode()):
        if secret in logs:
            raise Failed("a log has a secret")
    return "and no log has a secret"


def schemathesis_finds_no_answer_that_the_description_does_not_have(rig):
    service = Service(rig, "fuzzed", "--workers", "0")
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{service.url}/openapi.json"]
    command += ["--header", f"x-api-key: {rig.key}", "--max-examples", "25", "--seed", "1", "--no-color"]
    # Nothing here is forbidden for being positive data: what a spec may say is more than a schema tells.
    command += ["--exclude-checks", "positive_data_acceptance"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=rig.folder, timeout=600)
    if done.returncode:
        raise Failed(done.stdout + done.stderr)
    service.stop()
    generated = re.search(r"^ *([0-9]+) generated", done.stdout, re.MULTILINE)
    if not generated:
        raise Failed(f"it does not say what it did:\n{done.stdout}")
    return f"{generated[1]} requests"


def a_replica_that_dies_leaves_its_job_to_another(rig):
    one, other = Service(rig, "shared", "--threads", "1"), Service(rig, "shared", "--workers", "0")
    export = rig.create(one, type="large", format="ndjson", date_to="2026-03-02")
    while rig.show(other, export)["status"] == "queued":
        time.sleep(0.05)
    one.stop(signal.SIGKILL)
    seen = rig.show(other, export)["status"]
    third = Service(rig, "shared")
    ended = rig.ended(third, export, ABANDONED_AFTER_SECONDS + 120)
    if (ended["status"], ended["total_rows"]) != ("complete", 400_000):
        raise Failed(f"{ended}")
    rig.program.call(rig.folder, ["verify", "--rows", f"shared/jobs/{ended['job_id']}/package"]).exits(0)
    # A token of one replica is good for the other.
    file = ended["files"][0]
    fetched = rig.curl(other.url + file["download_url"])
    if hashlib.sha256(fetched).hexdigest() != file["sha256"]:
        raise Failed(f"{file['name']} is another from the other replica")
    return f"it was {seen} when its replica was killed"


ALL = [
    curl_fetches_what_sha256sum_finds_whole,
    tokens_are_the_codes_that_openssl_makes,
    schemathesis_finds_no_answer_that_the_description_does_not_have,
    a_replica_that_dies_leaves_its_job_to_another,
    a_key_is_kept_as_its_digest_alone,
]
