"""Packages whose reports are worth looking at: some exported, some with a manifest that was made up."""

import hashlib
import json
import subprocess
from copy import deepcopy
from datetime import datetime, timedelta, timezone

NOW = "2027-01-01T00:00:00Z"

# What must stay text: markup, quotes, shell, terminal, direction, and length.
HOSTILE = (
    "<script>alert(1)</script> \"'`&amp;|*_[x](javascript:alert(1))_ ${x} $(x) {{ 7*7 }} "
    "\u202eabc\u2066\u200f\u200b\x1b[31m\x00\n --> </style></title> "
) + "W" * 2000


def call(binary, folder, *args, codes=(0,)):
    done = subprocess.run(
        [binary, *map(str, args)], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode not in codes:
        raise SystemExit(f"kt-export {' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")


def run(binary, folder, name, spec, files, source="source: {uri: data/}", codes=(0,)):
    """Exports, and gives the page that the run left in the package."""
    at = folder / name
    (at / "data").mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (at / "data" / file).write_text(text)
    spec = f"version: 1\nname: {name}\ntype: events\n{source}\noutput: {{uri: package}}\n{spec}\n"
    (at / "spec.yaml").write_text(spec)
    call(binary, at, "run", "spec.yaml", "--now", NOW, codes=codes)
    return at / "package" / "report.html"


def made_up(binary, folder, name, manifest):
    """The page of a manifest."""
    at = folder / name
    at.mkdir(parents=True, exist_ok=True)
    (at / "manifest.json").write_text(json.dumps(manifest, indent=2))
    call(binary, at, "report", ".", "--output", "report.html")
    call(binary, at, "report", ".", "--format", "markdown", "--output", "report.md")
    return at / "report.html"


def row(number, at):
    status = ["allowed", "blocked", "escalated"][number % 3]
    return json.dumps({"event_id": f"e{number}", "occurred_at": at, "status": status, "latency_ms": number % 977}) + "\n"


def hourly(hours):
    """Rows in most hours: more by day, none on Sundays' nights."""
    start, lines, number = datetime(2026, 3, 1, tzinfo=timezone.utc), [], 0
    for hour in range(hours):
        at = start + timedelta(hours=hour)
        for _ in range(0 if at.weekday() == 6 and at.hour < 6 else 2 + at.hour % 12 + at.day % 5):
            lines.append(row(number, at.strftime("%Y-%m-%dT%H:%M:%SZ")))
            number += 1
    return "".join(lines)


def daily(days):
    lines = [row(n, f"2026-03-{day:02}T{n % 24:02}:00:00Z") for day in range(1, days + 1) for n in range(day % 7 * 20)]
    return "".join(lines)


def hostile(value):
    """Every free text of a manifest replaced; what has a form (times, statuses, versions, numbers) stays."""
    formed = {"manifest_version", "id", "kind", "status", "export_format", "compression", "code", "error_code", "outcome", "version"}
    if isinstance(value, dict):
        return {key: item if key in formed or key.endswith(("_at", "_time", "_start", "_end", "start", "end", "mtime"))
                else hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


def with_everything(manifest):
    """As a job with every feature would leave it."""
    manifest = deepcopy(manifest)
    manifest["accounting"]["filtered_out"] += 1_234_567
    manifest["accounting"]["source_rows"] += 1_234_567
    manifest["filters"] = {"status": {"in": ["blocked", "escalated"]}, "latency_ms": {"gte": 500, "lt": 30000}}
    manifest["where"] = "cost_usd > 0.5 AND model LIKE 'gpt%'"
    manifest["filter_counts"] = [{"filter": "statuses in", "rows": 1_234_000}, {"filter": "where", "rows": 567}]
    manifest["rows_digest"] = "kt-rows-1:" + "a1" * 32
    manifest["encryption"] = {"age": {"recipients": ["age1" + "q" * 58, "age1" + "z" * 58]}}
    for file in manifest["files"]:
        file["path"] += ".age"
        file["plain_bytes"], file["plain_sha256"] = file["bytes"], "b2" * 32
    manifest["expectations"] = [
        {"name": "min_rows", "expected": 1, "actual": manifest["total_rows"], "holds": True},
        {"name": "non_empty_partitions", "expected": True, "actual": {"empty": 1, "first": "2026-03-07"}, "holds": False},
    ]
    manifest["status"], manifest["error_code"] = "partial", "expectation_failed"
    manifest["previous"] = {"id": "job_" + "b" * 26, "sha256": "c3" * 32}
    manifest["supersedes"] = {"id": "job_" + "c" * 26, "sha256": "d4" * 32}
    manifest["spec"]["git_commit"], manifest["spec"]["git_dirty"] = "e5" * 20, True
    manifest["spec"]["resolved"]["redact"] = {"message": "drop"}
    manifest["columns"][0]["redaction"] = [
        {"path": "event_id", "method": "hmac_sha256", "key_id": "0123456789abcdef", "values": manifest["total_rows"]}
    ]
    manifest["source"]["drift"] = ["latency_ms: int64 in a.ndjson, text in b.ndjson: text"]
    manifest["expires_at"] = "2028-02-05T00:00:00Z"
    manifest["accounting"]["ambiguous_time"] = 3
    return manifest


def many_files(manifest, count):
    """As if `max_rows` had cut each of 31 days into many parts."""
    manifest = deepcopy(manifest)
    files = []
    for number in range(count):
        file = deepcopy(manifest["files"][number * 31 // count])
        file["path"] = f"data/{file['partition']['label']}/part-{number % 1000:04}.csv.zst"
        file["rows"], file["bytes"] = 1_000_000 - number, 40_000_000 + number
        file["sha256"] = hashlib.sha256(str(number).encode()).hexdigest()
        files.append(file)
    manifest["files"] = files
    manifest["total_rows"], manifest["total_bytes"] = sum(f["rows"] for f in files), sum(f["bytes"] for f in files)
    manifest["accounting"] |= {"written": manifest["total_rows"], "filtered_out": 0, "outside_window": 7}
    manifest["accounting"]["source_rows"] = manifest["total_rows"] + 7
    return manifest


def make(binary, folder, project):
    """Packages and their pages: name, file, and whether the page is so long that one look at it has to do."""
    march = "window: {month: 2026-03, timezone: Europe/Berlin}"
    call(binary, project, "run", "specs", "--output", folder, "--now", NOW)
    pages = {file.parent.parent.name: file for file in sorted(folder.glob("exports/*/*/report.html"))}
    by_hour = "window: {month: 2026-03}\npartition: {by: hour}"
    pages["hourly"] = run(binary, folder, "hourly", by_hour, {"a.ndjson": hourly(744)})
    pages["daily"] = run(binary, folder, "daily", march, {"a.ndjson": daily(28)})
    pages["empty"] = run(binary, folder, "empty", f"{march}\nfilters: {{statuses: [none]}}", {"a.ndjson": daily(3)})
    noon = "2026-03-{:02}T12:00:00Z"
    broken = {f"2026-03-{d:02}.ndjson": "".join(row(n, noon.format(d)) for n in range(d * 9)) for d in range(1, 15)}
    broken["2026-03-04.ndjson"] += "this is no row\n"
    broken["2026-03-09.ndjson"] += '{"event_id": "x", "occurred_at": null}\n'
    covers = "source: {uri: data/, path_time: {pattern: '%Y-%m-%d.ndjson', covers: day}}"
    window = "window: {date_from: 2026-03-02, date_to: 2026-03-14}"
    pages["failures"] = run(binary, folder, "failures", f"{window}\non_bad_rows: reject", broken, covers, codes=(3,))
    manifest = json.loads((folder / "daily" / "package" / "manifest.json").read_text())
    pages["everything"] = made_up(binary, folder, "everything", with_everything(manifest))
    pages["hostile"] = made_up(binary, folder, "hostile", hostile(with_everything(manifest)))
    pages["many-files"] = made_up(binary, folder, "many-files", many_files(manifest, 10_000))
    for status in ("failed", "cancelled"):
        ended = deepcopy(manifest)
        ended["status"], ended["error_code"] = status, "store_denied" if status == "failed" else None
        for file in ended["files"][3:]:
            file.update(status="pending", rows=0, bytes=0, sha256=None, min_time=None, max_time=None)
        ended["accounting"]["written"] = ended["total_rows"] = sum(f["rows"] for f in ended["files"])
        pages[status] = made_up(binary, folder, status, ended)
    return [{"name": name, "file": str(file), "is_long": name == "many-files"} for name, file in pages.items()]
