"""What must hold of packages in stores, each as one function that raises `Failed` where it does not."""

import json
import os
import random
import re
import signal
import subprocess
import time

import data
from package import equal, local_shards, stored_shards
from program import Failed
from servers import AZURE_ACCOUNT, AZURE_KEY, Proxy, StatusOfRanges

# How often several things are tried; more for a release than for every change.
RACES = int(os.environ.get("KT_EXPORT_STORE_RACES", "3"))
KILLS = int(os.environ.get("KT_EXPORT_STORE_KILLS", "3"))
RUNS_AT_ONCE = 16

# The output of the check of memory. Debug builds encode some MB a second.
MEMORY_OUTPUT_MB = int(os.environ.get("KT_EXPORT_STORE_MEMORY_MB", "30"))
MEMORY_MB = 256

# A store that cannot be used is told within this time.
REFUSAL_SECONDS = 20

# Signs that URLs, XML or signatures escape, as names of source files and, but for `?`, of the package.
ODD_NAMES = ["a b", "ü€", "p+q", "x%20y", "h#i", "k&l=m", "sub dir/~t'(!)?"]
ODD_PREFIX = " ü+%20#&='"

# What a window of one day of 90 may read of a file.
PRUNED_SHARE = 0.05


class Job:
    """A source and a spec."""

    def __init__(self, name, files, source, rest, prefix_end=""):
        self.name, self.files, self.source, self.rest = name, files, source, rest
        self.prefix_end = prefix_end

    def spec(self, uri, output, options=""):
        more = "".join(f", {word}" for word in (self.source, options) if word)
        given = f", {options}" if options else ""
        return (
            f"version: 1\nname: {self.name}\nsource: {{uri: {json.dumps(uri)}{more}}}\n"
            f"output: {{uri: {json.dumps(output)}{given}}}\n{self.rest}\n"
        )


def window(days, first="2026-01-01"):
    last = f"2026-01-{int(first[-2:]) + days - 1:02}"
    return f"window: {{date_from: {first}, date_to: {last}}}"


class Rig:
    """The stores, the program, a folder for everything, and what local runs of the jobs gave."""

    def __init__(self, program, folder, seed):
        self.program, self.folder = program, folder
        self.rng = random.Random(seed)
        self.count = 0
        self.golden_shards = {}
        self.uploaded = set()
        self.ninety_days = folder / "ninety.parquet"
        data.parquet(self.ninety_days, 90, 2000)
        self.events = Job("events", dict(data.daily_ndjson(7, 300)), "", f"type: events\n{window(7)}")
        self.jobs = [
            self.events,
            Job(
                "ninety-days",
                {"ninety.parquet": self.ninety_days.read_bytes()},
                "",
                f"type: events\n{window(5, '2026-01-04')}\nformat: parquet\nfilters: {{latency_ms: {{gte: 9000}}}}",
            ),
            Job(
                "cloudtrail",
                dict(data.cloudtrail(6, 50)),
                "records: Records",
                f"type: audit-log\ntime: {{column: eventTime}}\n{window(6)}\nformat: ndjson\ncompression: gzip",
            ),
        ]
        odd = {f"{name}.ndjson": content for name, content in zip(ODD_NAMES, self.events.files.values(), strict=True)}
        self.jobs.append(Job("odd-names", odd, "", self.events.rest, ODD_PREFIX))
        # Three shards, each of several parts of an upload.
        large = dict(data.daily_ndjson(3, 3600, message=1600))
        self.large = Job("large", large, "", f"type: events\n{window(3)}\ncompression: none")

    def golden(self, job):
        """The shards of a local run."""
        if job.name not in self.golden_shards:
            folder = self.folder / f"golden-{job.name}"
            for name, content in job.files.items():
                path = folder / "lake" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            (folder / "spec.yaml").write_text(job.spec("lake/", "package"))
            self.program.call(folder, run_args("spec.yaml")).exits(0)
            self.golden_shards[job.name] = local_shards(folder / "package")
        return self.golden_shards[job.name]

    def on(self, store, job, options=""):
        """Puts the job's source into the store; a fresh folder with the spec, and the package's prefix."""
        self.count += 1
        prefix = f"packages/{self.count:03}-{job.name}{job.prefix_end}"
        for name, content in job.files.items():
            key = f"lake/{job.name}/{name}"
            if (store.name, key) not in self.uploaded:
                store.put(key, content)
                self.uploaded.add((store.name, key))
        folder = self.folder / f"{self.count:03}-{job.name}"
        folder.mkdir()
        bucket = f"{store.scheme}://evidence"
        (folder / "spec.yaml").write_text(job.spec(f"{bucket}/lake/{job.name}/", f"{bucket}/{prefix}/", options))
        return folder, prefix

    def verify(self, store, prefix, environment=None):
        uri = f"{store.scheme}://evidence/{prefix}"
        return self.program.call(
            self.folder, ["verify", "--rows", uri], environment or store.environment()
        ).exits(0)

    def equals_golden(self, store, prefix, job):
        equal(stored_shards(store, prefix), self.golden(job))
        self.verify(store, prefix)


def run_args(spec, *more):
    return ["run", spec, "--progress", "never", *more]


def no_uploads(store, prefix):
    left = [key for key in store.uploads() if key.startswith(prefix)]
    if left:
        raise Failed(f"unfinished uploads in {store.name}: {left}")


def a_package_in_a_store_has_the_bytes_of_a_local_one(rig, store):
    for job in rig.jobs:
        folder, prefix = rig.on(store, job)
        first = rig.program.call(folder, run_args("spec.yaml"), store.environment()).exits(0)
        ignored = "ignores conditional writes" in first.stderr
        if ignored != (store.name == "rclone"):
            raise Failed(f"what is said of conditional writes is wrong for {store.name}\n{first}")
        rig.equals_golden(store, prefix, job)
        keys = store.keys("")
        again = rig.program.call(folder, run_args("spec.yaml"), store.environment())
        again.exits(0).says("complete already")
        if store.keys("") != keys:
            raise Failed(f"a run of a complete job changed objects: {set(keys) ^ set(store.keys(''))}")
    return f"{len(rig.jobs)} jobs"


def azure_is_found_where_its_tools_look(rig, azurite):
    key = {"AZURE_STORAGE_ACCOUNT_KEY": AZURE_KEY}
    account = {"AZURE_STORAGE_ACCOUNT_NAME": AZURE_ACCOUNT}
    endpoint = azurite.endpoint
    ways = {
        "options": ({**key}, f"options: {{endpoint: '{endpoint}', account: {AZURE_ACCOUNT}}}"),
        "AZURE_STORAGE_ENDPOINT": ({**key, **account, "AZURE_STORAGE_ENDPOINT": endpoint}, ""),
        "AZURE_ENDPOINT": ({**key, **account, "AZURE_ENDPOINT": endpoint}, ""),
        "AZURE_STORAGE_USE_EMULATOR": (
            {
                "AZURE_STORAGE_USE_EMULATOR": "true",
                "AZURITE_BLOB_STORAGE_URL": endpoint.removesuffix(f"/{AZURE_ACCOUNT}"),
            },
            "",
        ),
    }
    for way, (environment, options) in ways.items():
        folder, prefix = rig.on(azurite, rig.events, options)
        outcome = rig.program.call(folder, run_args("spec.yaml"), environment)
        if outcome.code != 0:
            raise Failed(f"by {way}:\n{outcome}")
        rig.equals_golden(azurite, prefix, rig.events)
    return ", ".join(ways)


def of_many_runs_at_once_one_finishes_the_job(rig, store):
    times = RACES if store.scheme == "s3" else max(1, RACES // 3)
    for _ in range(times):
        folder, prefix = rig.on(store, rig.events)
        args = run_args("spec.yaml", "--threads", "1")
        calls = [rig.program.start(folder, args, store.environment()) for _ in range(RUNS_AT_ONCE)]
        for outcome in [call.wait() for call in calls]:
            outcome.exits(0)
        rig.equals_golden(store, prefix, rig.events)
        no_uploads(store, prefix)
    return f"{times} times {RUNS_AT_ONCE} runs"


def a_killed_run_is_continued(rig, store, job, number=signal.SIGKILL):
    """The signal comes at a random byte of what the program sends, which says more than a random moment."""
    proxy = Proxy(store)
    environment = store.environment(proxy)
    golden = rig.golden(job)
    folder, prefix = rig.on(store, job)
    rig.program.call(folder, run_args("spec.yaml"), environment).exits(0)
    whole = proxy.sent
    stopped = unfinished = 0
    for _ in range(KILLS):
        folder, prefix = rig.on(store, job)
        at = rig.rng.randrange(whole)
        call = rig.program.start(folder, run_args("spec.yaml"), environment)
        proxy.at_sent(at, lambda: call.signal(number))
        outcome = call.wait()
        with proxy.lock:
            proxy.watch = None
        left = [key for key in store.uploads() if key.startswith(prefix)]
        stopped += outcome.code != 0
        unfinished += bool(left)
        if number == signal.SIGTERM:
            outcome.exits(0, 143)
            if outcome.by_signal:
                raise Failed(f"ended by the signal, not of its own\n{outcome}")
            if left:
                raise Failed(f"unfinished uploads after SIGTERM at byte {at}: {left}\n{outcome}")
        else:
            outcome.exits(0, 137)
        again = rig.program.call(folder, run_args("spec.yaml"), environment)
        if again.code != 0:
            raise Failed(f"after {number.name} at byte {at} of {whole}:\n{outcome}\nthe next run:\n{again}")
        equal(stored_shards(store, prefix), golden)
        rig.verify(store, prefix)
        no_uploads(store, prefix)
    proxy.stop()
    if not stopped:
        raise Failed(f"none of {KILLS} runs was stopped before its end")
    return f"{stopped} of {KILLS} runs stopped, {unfinished} left uploads that the next run aborted"


def a_source_that_changes_during_the_run_is_noticed(rig, store):
    name, first = next(iter(rig.events.files.items()))
    second = first.replace(b'"blocked"', b'"allowed"')
    job = Job("changing", {name: first}, "", f"type: events\n{window(1)}")
    key = f"lake/{job.name}/{name}"
    between = StatusOfRanges(store.port)
    reads = []

    def change(method, path):
        if method == "GET" and key in path:
            reads.append(path)
            # Read once to learn the columns; then it has other bytes, as many as before.
            if len(reads) == 2:
                store.put(key, second)

    between.before = change
    folder, _ = rig.on(store, job)
    outcome = rig.program.call(folder, run_args("spec.yaml"), store.environment(between))
    between.stop()
    if len(reads) < 2:
        raise Failed(f"{key} was read {len(reads)} times, so nothing was changed during the run\n{outcome}")
    outcome.exits(4).says("source_changed")
    return f"changed before read 2 of {len(reads)}"


def a_short_window_reads_little_of_a_large_file(rig, store):
    proxy = Proxy(store)
    job = Job("one-day", {"ninety.parquet": rig.ninety_days.read_bytes()}, "", f"type: events\n{window(1, '2026-01-20')}")
    folder, prefix = rig.on(store, job)
    environment = store.environment(proxy)
    rig.program.call(folder, run_args("spec.yaml"), environment).exits(0)
    proxy.stop()
    size = rig.ninety_days.stat().st_size
    share = proxy.received / size
    if share > PRUNED_SHARE:
        raise Failed(f"{proxy.received:,} bytes received for a day of a file of {size:,}: {share:.1%}")
    rig.equals_golden(store, prefix, job)
    return f"{proxy.received:,} of {size:,} bytes, {share:.1%}"


def a_store_that_cannot_be_used_says_so(rig, s3, azurite):
    canary = "CANARYcanary0123456789abcdefCANARYcanary"
    account = {"AZURE_STORAGE_ACCOUNT_KEY": canary}  # base64 by its letters
    nowhere = "http://127.0.0.1:1"
    missing = ("//evidence/", "//not-there/")
    none = ("", "")
    cases = [
        (s3, "wrong secret", {"AWS_SECRET_ACCESS_KEY": canary}, none, 4),
        (s3, "missing bucket", {}, missing, 4),
        (s3, "unreachable", {"AWS_SECRET_ACCESS_KEY": canary, "AWS_ENDPOINT_URL": nowhere}, none, 6),
        (s3, "endpoint without http://", {"AWS_ENDPOINT_URL": "127.0.0.1:9000"}, none, 4),
        (azurite, "wrong key", account, none, 4),
        (azurite, "missing container", {}, missing, 4),
        (azurite, "unreachable", {**account, "AZURE_STORAGE_ENDPOINT": f"{nowhere}/{AZURE_ACCOUNT}"}, none, 6),
    ]
    slowest = 0
    for store, what, changed, (old, new), code in cases:
        environment = {**store.environment(), **changed}
        secrets = [value for name, value in environment.items() if "SECRET" in name or name.endswith("ACCOUNT_KEY")]
        # The source in the store, the output in the store, and both.
        for place in ("source", "output", "both"):
            folder, _ = rig.on(store, rig.events)
            spec = (folder / "spec.yaml").read_text().replace(old, new)
            lake, package = rig.folder / "golden-events" / "lake", folder / "package"
            if place == "source":
                spec = re.sub(r'output: \{uri: "[^"]*"', f'output: {{uri: "{package}"', spec)
            if place == "output":
                spec = re.sub(r'source: \{uri: "[^"]*"', f'source: {{uri: "{lake}/"', spec)
            (folder / "spec.yaml").write_text(spec)
            for flags in ([], ["-vv", "--log-format", "json"]):
                outcome = rig.program.call(folder, run_args("spec.yaml", *flags), environment)
                said = f"{store.name}, {what}, {place} {flags}"
                for secret in secrets:
                    if secret in outcome.stdout + outcome.stderr:
                        raise Failed(f"{said}: the secret is in the output\n{outcome}")
                if outcome.code != code:
                    raise Failed(f"{said}: exit code {outcome.code}, not {code}\n{outcome}")
                if outcome.seconds > REFUSAL_SECONDS:
                    raise Failed(f"{said}: took {outcome.seconds:.0f} s\n{outcome}")
                slowest = max(slowest, outcome.seconds)
                bucket = f"{store.scheme}://{'not-there' if new else 'evidence'}"
                tried = rf"cannot (connect to|create|list|read|look at|write) {bucket}"
                if not flags and len(re.findall(tried, outcome.stderr)) != 1:
                    raise Failed(f"{said}: not one message that names {bucket} and what was tried\n{outcome}")
    return f"{len(cases)} cases, the slowest took {slowest:.1f} s"


def an_upload_stays_within_memory(rig, store):
    path = rig.folder / "memory.parquet"
    rows = MEMORY_OUTPUT_MB * 1_000_000 // 1000 // 5
    data.parquet(path, 5, rows, message=930)
    rest = f"type: events\n{window(5)}\npartition: {{by: month}}\ncompression: none"
    job = Job("memory", {"memory.parquet": path.read_bytes()}, "", rest)
    folder, prefix = rig.on(store, job)
    job.files = {}
    outcome = rig.program.call(folder, run_args("spec.yaml", "--memory", f"{MEMORY_MB}MB"), store.environment())
    outcome.exits(0)
    manifest = json.loads(store.get(f"{prefix}/manifest.json"))
    written = sum(file["bytes"] for file in manifest["files"])
    if outcome.peak_bytes > MEMORY_MB * 10**6:
        raise Failed(f"{outcome.peak_bytes:,} bytes resident at the peak, {MEMORY_MB} MB allowed\n{outcome}")
    rig.verify(store, prefix)
    return f"{written / 1e6:.0f} MB written in {outcome.seconds:.1f} s, peak {outcome.peak_bytes / 1e6:.0f} MB"


def public_data_sets_come_out_as_from_a_folder(rig, store, folder):
    """The examples of docs/worked-examples.md."""
    jobs = [
        Job(
            "flights",
            {"flights-3m.parquet": (folder / "flights" / "flights-3m.parquet").read_bytes()},
            "",
            "type: flights\ntime: {column: date}\nwindow: {year: 2001}\npartition: {by: month}\nformat: csv",
        ),
        Job(
            "real-cloudtrail",
            {path.name: path.read_bytes() for path in sorted((folder / "cloudtrail").glob("*.json"))},
            "",
            "type: audit-log\ntime: {column: eventTime}\n"
            "window: {start: 2024-07-01T00:00:00Z, end: 2025-01-01T00:00:00Z}\n"
            "partition: {by: quarter}\nformat: ndjson",
        ),
    ]
    for job, rows in zip(jobs, (3_000_000, 310), strict=True):
        where, prefix = rig.on(store, job)
        rig.program.call(where, run_args("spec.yaml"), store.environment()).exits(0)
        rig.equals_golden(store, prefix, job)
        written = json.loads(store.get(f"{prefix}/manifest.json"))["total_rows"]
        if written != rows:
            raise Failed(f"{job.name}: {written} rows, not {rows}")
    return f"{len(jobs)} data sets"


def a_job_is_created_got_and_downloaded(rig, store):
    """A link works until it ends; moto never ends one."""
    folder, prefix = rig.on(store, rig.events)
    environment = store.environment()
    at = ["--store", f"{store.scheme}://evidence/{prefix}"]

    def jobs(command, *args):
        return rig.program.call(folder, ["jobs", command, *at, *args], environment)

    job_id = jobs("create", "--spec", "spec.yaml").exits(0).stdout.strip()
    jobs("get", "--id", job_id, "--watch").exits(0)
    job = json.loads(jobs("get", "--id", job_id, "--json").exits(0).stdout)
    package = f"{prefix}/jobs/{job_id}/package"
    rig.equals_golden(store, package, rig.events)
    jobs("download", "--id", job_id, "--output", "week.csv").exits(0)
    lines = (folder / "week.csv").read_text().splitlines()
    if len(lines) != job["total_rows"] + 1 or lines.count(lines[0]) != 1:
        raise Failed(f"{len(lines)} lines for {job['total_rows']} rows, the header {lines.count(lines[0])} times")
    jobs("download", "--id", job_id, "--shards", "--output", "copy").exits(0)
    rig.program.call(folder, ["verify", "--rows", "copy"]).exits(0)
    links = json.loads(jobs("download", "--id", job_id, "--url", "--expires", "3s", "--json").exits(0).stdout)["links"]
    for link in links[:2]:
        if fetched(link["url"]) != store.get(f"{package}/{link['path']}"):
            raise Failed(f"the link to {link['path']} gives other bytes")
    if store.name == "moto":
        return f"{len(links)} links"
    time.sleep(5)
    for link in links[:2]:
        if fetched(link["url"]) is not None:
            raise Failed(f"the link to {link['path']} works after {link['expires_at']}")
    return f"{len(links)} links, and none after its end"


def fetched(url):
    """What `curl` gets, or None where the server refuses."""
    done = subprocess.run(["curl", "--fail", "--silent", "--show-error", url], stdout=subprocess.PIPE, check=False)
    return done.stdout if done.returncode == 0 else None
