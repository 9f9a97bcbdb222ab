"""The entries of docs/cookbook.md, run over the files below `cookbook/`, beside readers that know nothing of kt-export.

A reader is a few lines of Python that turn the files of one log into rows, each with its instant. It is written for that log
alone, so it says again, in other words, what the entry of the page says.
"""

import csv
import gzip
import io
import json
import re
import shutil
from collections import namedtuple
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

from program import Failed

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "cookbook.md"
INPUT = Path(__file__).resolve().parent / "cookbook"
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
# The window of every run: 2026-03-05 in UTC, in nanoseconds since 1970.
START = 1_772_668_800 * 10**9
END = START + 86_400 * 10**9

# A number by its text, so that nothing is rounded and `1` is neither `1.0` nor `"1"`.
Number = namedtuple("Number", "text")
DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number)

Log = namedtuple("Log", "read filters keeps unknown")
LOGS = {}


def log(name, filters=None, keeps=None, unknown=()):
    """Registers the reader of a type. The second run has `filters`, and of the first one's rows those for which `keeps` is
    true. `unknown` are columns that the entry declares and no file has."""

    def register(read):
        LOGS[name] = Log(read, filters, keeps, set(unknown))
        return read

    return register


def iso(text):
    """Nanoseconds since 1970 of ISO 8601 in any of its spellings; without an offset it is UTC."""
    seconds, fraction, offset = re.fullmatch(r"(.{19})(?:\.(\d+))? ?(Z|UTC|CET|[+-]\d\d:?\d\d)? ?", text).groups()
    instant = datetime.strptime(seconds.replace(" ", "T") + "+0000", "%Y-%m-%dT%H:%M:%S%z")
    if offset == "CET":
        instant -= timedelta(hours=1)
    elif offset and offset[0] in "+-":
        minutes = int(offset[1:3]) * 60 + int(offset[-2:])
        instant -= timedelta(minutes=minutes if offset[0] == "+" else -minutes)
    return (instant - EPOCH) // timedelta(seconds=1) * 10**9 + int((fraction or "").ljust(9, "0"))


def epoch(value, digits):
    """Nanoseconds since 1970 of a number of seconds (9 digits), milliseconds (6), microseconds (3) or nanoseconds (0)."""
    return int(Decimal(getattr(value, "text", value)).scaleb(digits))


def loads(text):
    return DECODER.decode(text.strip())


def lines(files):
    return [loads(line) for _, text in files for line in text.splitlines()]


def named(files, pattern):
    return [file for file in files if re.search(pattern, file[0])]


def typed(row, numbers):
    """A row of text with numbers in the columns that are named."""
    return {name: Number(cell) if name in numbers.split() and cell is not None else cell for name, cell in row.items()}


def at(row, *path):
    for key in path:
        row = row.get(key) if isinstance(row, dict) else None
    return row


@log("cloudtrail", {"userIdentity.type": "Root"}, lambda row: row["userIdentity"]["type"] == "Root", ["serviceEventDetails"])
def cloudtrail(files):
    for _, text in named(files, "/CloudTrail/"):
        for row in loads(text)["Records"]:
            yield iso(row["eventTime"]), row


@log(
    "vpc-flow-logs",
    {"actions": "REJECT", "srcport": {"gte": 50000}},
    lambda row: row["action"] == "REJECT" and int(row["srcport"].text) >= 50000,
)
def vpc_flow_logs(files):
    numbers = "version srcport dstport protocol packets bytes start end"
    for _, text in files:
        head, *rest = text.splitlines()
        for line in rest:
            cells = [None if cell == "-" else cell for cell in line.split(" ")]
            row = typed(dict(zip(head.split(" "), cells)), numbers)
            yield epoch(row["start"], 9), row


ALB = (
    "type time elb client target request_processing_time target_processing_time response_processing_time elb_status_code "
    "target_status_code received_bytes sent_bytes request user_agent ssl_cipher ssl_protocol target_group_arn trace_id "
    "domain_name chosen_cert_arn matched_rule_priority request_creation_time actions_executed redirect_url error_reason "
    "target_port_list target_status_code_list classification classification_reason conn_trace_id transformed_host "
    "transformed_uri request_transform_status field_34"
).split()


@log("alb", {"elb_status_code": {"gte": 500}}, lambda row: int(row["elb_status_code"].text) >= 500)
def alb(files):
    numbers = (
        "request_processing_time target_processing_time response_processing_time elb_status_code target_status_code "
        "received_bytes sent_bytes matched_rule_priority"
    )
    for _, text in named(files, r"\.log\.gz$"):
        for line in text.splitlines():
            # Python's csv does not tell "-" from - either.
            pairs = re.findall(r'"([^"]*)"|(\S+)', line)
            cells = [quoted if bare == "" else None if bare == "-" else bare for quoted, bare in pairs]
            cells += [None] * (len(ALB) - len(cells))
            row = typed(dict(zip(ALB, cells)), numbers)
            yield iso(row["time"]), row


S3 = (
    "bucket_owner bucket time remote_ip requester request_id operation key request_uri http_status error_code bytes_sent "
    "object_size total_time turn_around_time referer user_agent version_id host_id signature_version cipher_suite "
    "authentication_type host_header tls_version access_point_arn acl_required source_region"
).split()


@log("s3-access", {"operations": "REST.GET.OBJECT", "statuses": 403}, lambda row: row["operation"] == "REST.GET.OBJECT")
def s3_access(files):
    numbers = "http_status bytes_sent object_size total_time turn_around_time"
    for _, text in files:
        for line in text.splitlines():
            # A quote ends a field only before a space.
            cells = [a or b or c for a, b, c in re.findall(r'(?:\[(.*?)\]|"(.*?)"|(\S+))(?: |$)', line)]
            row = typed({name: None if cell == "-" else cell for name, cell in zip(S3, cells)}, numbers)
            instant = datetime.strptime(row["time"], "%d/%b/%Y:%H:%M:%S %z")
            yield int(instant.timestamp()) * 10**9, {**row, "more": ""}


@log("cloudfront", {"results": ["Error", "RefreshHit"]}, lambda row: row["x-edge-result-type"] in ("Error", "RefreshHit"))
def cloudfront(files):
    numbers = "sc-bytes sc-status cs-bytes time-taken c-port time-to-first-byte sc-content-len"
    for _, text in files:
        _, head, *rest = text.splitlines()
        for line in rest:
            cells = [None if cell == "-" else cell for cell in line.split("\t")]
            row = typed(dict(zip(head.split()[1:], cells)), numbers)
            yield iso(f"{row['date']} {row['time']}"), row


@log("cloudwatch-logs", {"log_groups": "/ecs/web"}, lambda row: row["log_group"] == "/ecs/web")
def cloudwatch_logs(files):
    for _, text in files:
        start = 0
        while start < len(text):
            document, start = DECODER.raw_decode(text, start)
            around = {"message_type": "messageType", "owner": "owner", "log_group": "logGroup", "log_stream": "logStream"}
            for event in document["logEvents"]:
                yield epoch(event["timestamp"], 6), {**{ours: document[key] for ours, key in around.items()}, **event}


@log("aws-config", {"tags.team": "data"}, lambda row: row["tags"].get("team") == "data")
def aws_config(files):
    for _, text in named(files, "/ConfigHistory/"):
        for row in loads(text)["configurationItems"]:
            yield iso(row["configurationItemCaptureTime"]), row


@log("azure-activity", {"properties.statusCode": "Forbidden"}, lambda row: at(row, "properties", "statusCode") == "Forbidden")
@log(
    "azure-signin",
    {"users": {"ends_with": "@example.com"}, "properties.status.errorCode": {"ne": 0}},
    lambda row: at(row, "properties", "status", "errorCode").text != "0",
)
@log(
    "azure-diagnostics",
    {"properties.httpStatusCode": "403"},
    lambda row: at(row, "properties", "httpStatusCode") == Number("403"),
)
def azure(files):
    return [(iso(row["time"]), row) for row in lines(files)]


@log(
    "gcp-audit",
    {"protoPayload.serviceData.policyDelta.bindingDeltas": {"is_null": False}},
    lambda row: "serviceData" in row["protoPayload"],
    ["protoPayload.response", "protoPayload.metadata"],
)
def gcp_audit(files):
    return [(iso(row["timestamp"]), row) for row in lines(files)]


@log(
    "github-audit",
    {"actor_location.country_code": "NL", "repo": {"contains": "web"}},
    lambda row: "actor_location" in row and "web" in row.get("repo", ""),
)
def github_audit(files):
    return [(epoch(row["@timestamp"], 6), row) for row in lines(named(files, r"\.json\.gz$"))]


@log("okta", {"results": "FAILURE"}, lambda row: row["outcome"]["result"] == "FAILURE")
def okta(files):
    return [(iso(row["published"]), row) for _, text in files for row in loads(text)]


@log(
    "auth0",
    {"event_types": {"starts_with": "f"}, "data.details.error.type": {"is_null": True}},
    lambda row: row["data"]["type"] == "fp",
)
def auth0(files):
    return [(iso(row["data"]["date"]), row) for row in lines(files)]


@log("google-workspace", {"users": "bob@example.com"}, lambda row: row["actor"].get("email") == "bob@example.com")
def google_workspace(files):
    return [(iso(row["id"]["time"]), row) for _, text in files for row in loads(text)["items"] or []]


@log(
    "m365-audit",
    {"AuditData.ClientIP": {"starts_with": "203.0.113.4:"}},
    lambda row: row["AuditData"]["ClientIP"].startswith("203.0.113.4:"),
)
def m365_audit(files):
    for _, text in files:
        for row in csv.DictReader(io.StringIO(text, newline=""), strict=True):
            row = typed({name: cell or None for name, cell in row.items()}, "RecordType")
            row["AuditData"] = loads(row["AuditData"])
            yield iso(row["AuditData"]["CreationTime"]), row


@log(
    "kubernetes-audit",
    {"annotations.authorization.k8s.io/decision": "forbid"},
    lambda row: row["annotations"]["authorization.k8s.io/decision"] == "forbid",
    ["responseObject"],
)
def kubernetes_audit(files):
    return [(iso(row["requestReceivedTimestamp"]), row) for row in lines(files)]


@log(
    "teleport",
    {"addr.remote": {"starts_with": "192.0.2."}, "server_labels.env": "prod"},
    lambda row: row["event"] == "session.start",
)
@log(
    "vault-audit",
    {"types": "response", "auth.metadata.role": "ops", "error": {"is_null": False}},
    lambda row: row["type"] == "response" and "error" in row,
    ["request.headers", "response.headers"],
)
def with_a_time(files):
    return [(iso(row["time"]), row) for row in lines(named(files, r"audit\.log$|00:00:00\.log$"))]


POSTGRESQL = (
    "log_time user_name database_name process_id connection_from session_id session_line_num command_tag session_start_time "
    "virtual_transaction_id transaction_id error_severity sql_state_code message detail hint internal_query internal_query_pos "
    "context query query_pos location application_name backend_type leader_pid query_id"
).split()


@log("postgresql", {"severities": {"in": ["ERROR", "FATAL"]}}, lambda row: row["error_severity"] in ("ERROR", "FATAL"))
def postgresql(files):
    numbers = "process_id session_line_num transaction_id query_id"
    for _, text in named(files, r"\.csv$"):
        # Python does not tell an empty cell from `""`; the background process has the latter.
        for cells in csv.reader(io.StringIO(text, newline=""), strict=True):
            row = typed(dict(zip(POSTGRESQL, [cell or None for cell in cells])), numbers)
            if row["backend_type"] == "checkpointer":
                row |= {"command_tag": "", "application_name": ""}
            yield iso(row["log_time"]), row


@log("pgaudit", {"classes": ["WRITE", "DDL"]}, lambda row: row["class"] in ("WRITE", "DDL"))
def pgaudit(files):
    names = "audit_type statement_id substatement_id class command object_type object_name".split()
    for _, text in files:
        for line in text.splitlines():
            prefix, text = line.split(":  ", 1)
            row = dict.fromkeys(["user", "database", *names, "statement", "parameter", "message"])
            row["log_time"], row["pid"], who, row["severity"] = re.fullmatch(r"(.*) \[(.*)\] (\S+@\S+ )?(\w+)", prefix).groups()
            if who:
                row["user"], row["database"] = who.strip().split("@")
            if text.startswith("AUDIT: "):
                *head, rest = text[len("AUDIT: ") :].split(",", 7)
                row |= dict(zip(names, head))
                row["statement"], row["parameter"] = rest.rsplit(",", 1)
            else:
                row["message"] = text
            yield iso(row["log_time"]), typed(row, "pid statement_id substatement_id")


@log("mongodb", {"attr.ns": "shop.orders"}, lambda row: at(row, "attr", "ns") == "shop.orders")
def mongodb(files):
    return [(iso(row["t"]["$date"]), row) for row in lines(files)]


@log(
    "windows-events",
    {"Event.EventData.IpAddress": "203.0.113.66"},
    lambda row: at(row, "Event", "EventData", "IpAddress") == "203.0.113.66",
    ["Event.UserData"],
)
def windows_events(files):
    return [(iso(row["Event"]["System"]["TimeCreated"]["#attributes"]["SystemTime"]), row) for row in lines(files)]


@log(
    "zeek",
    {"id.resp_p": 443, "duration": {"gt": 1}},
    lambda row: row["id.resp_p"].text == "443" and float(row["duration"].text) > 1,
)
def zeek(files):
    numbers = (
        "ts id.orig_p id.resp_p duration orig_bytes resp_bytes missed_bytes orig_pkts orig_ip_bytes resp_pkts resp_ip_bytes"
    )
    for _, text in named(files, r"/conn\."):
        names = next(line for line in text.splitlines() if line.startswith("#fields")).split("\t")[1:]
        for line in text.splitlines():
            if not line.startswith("#"):
                cells = [None if cell == "-" else cell for cell in line.split("\t")]
                row = typed(dict(zip(names, cells)), numbers)
                yield epoch(row["ts"], 9), row


@log("zeek-json", {"statuses": 401, "id.orig_h": "192.0.2.55"}, lambda row: row["status_code"].text == "401")
def zeek_json(files):
    return [(epoch(row["ts"], 9), row) for row in lines(named(files, r"/http\."))]


@log("suricata", {"alert.severity": {"lte": 2}}, lambda row: "alert" in row)
def suricata(files):
    return [(iso(row["timestamp"]), row) for row in lines(named(files, r"^eve\.json"))]


@log("otlp-traces", {"status_codes": 2}, lambda row: row["status"].get("code") == Number("2"))
def otlp_traces(files):
    for document in lines(files):
        for resource in document["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    kept = {"resource_attributes": resource["resource"]["attributes"], "scope": scope["scope"]["name"]}
                    yield epoch(span["startTimeUnixNano"], 0), {**kept, **span}


@log("jaeger", {"processes.p2.serviceName": "mysql"}, lambda row: "p2" in row["processes"])
def jaeger(files):
    for _, text in files:
        for trace in loads(text)["data"]:
            for span in trace["spans"]:
                yield epoch(span["startTime"], 3), {"processes": trace["processes"], **span}


@log("zipkin", {"services": "backend", "tags.error": ""}, lambda row: at(row, "tags", "error") == "")
def zipkin(files):
    return [(epoch(row["timestamp"], 3), row) for _, text in files for row in loads(text)]


@log("langfuse", {"usage_details.total": "52"}, lambda row: row["usage_details"].get("total") == Number("52"))
def langfuse(files):
    for row in lines(named(files, "/observations_v2/")):
        # A column with fractions is a float, whose `0` is written as `0.0`.
        yield iso(row["start_time"]), {**row, "total_cost": Number(repr(float(row["total_cost"].text)))}


@log("litellm", {"statuses": "failure", "teams": "team-1"}, lambda row: row["status"] == "failure")
def litellm(files):
    return [(epoch(row["startTime"], 9), row) for row in lines(files)]


@log("helicone", {"request_properties.Environment": "prod"}, lambda row: row["request_properties"].get("Environment") == "prod")
def helicone(files):
    return [(iso(row["request_created_at"]), row) for row in lines(files)]


def entries():
    """The catalogs of the page, by the type that each has. Every section has one."""
    found = {}
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        blocks = re.findall(r"^```yaml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
        types = [name for block in blocks for name in re.findall(r"^  ([\w-]+):$", block, re.MULTILINE)]
        if len(blocks) != 1 or len(types) != 1 or types[0] in found:
            raise Failed(f"docs/cookbook.md, section {title}: {len(blocks)} catalogs with the types {types}, not one of each")
        found[types[0]] = blocks[0]
    return found


def contents_of(name):
    """A log's files by their names, which have a `:` where the repository has `%3A`: cargo and Windows do not allow it."""
    folder = INPUT / name
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix().replace("%3A", ":"): path.read_bytes() for path in paths}


def files_of(name):
    """The names and the text of a log's files, in the order of their names."""
    found = []
    for path, content in sorted(contents_of(name).items(), key=lambda file: file[0].encode()):
        # gzip.decompress takes all members of a file.
        found.append((path, (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8")))
    return found


def without_nulls(value):
    """Rows of one export have the same keys at every depth, so an absent key is a null one there."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def exported(rig, project, filters):
    shutil.rmtree(project / "package", ignore_errors=True)
    spec = {
        "version": 1,
        "name": "cookbook",
        "type": project.name,
        "window": {"date": "2026-03-05"},
        "format": "ndjson",
        "compression": "none",
        "output": {"uri": "package"},
        **({"filters": filters} if filters else {}),
    }
    # JSON is YAML.
    (project / "spec.yaml").write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
    rig.program.call(project, ["doctor", "spec.yaml"]).exits(0)
    rig.program.call(project, ["run", "spec.yaml"]).exits(0)
    rig.program.call(project, ["verify", "--rows", "package"]).exits(0)
    return lines([(path, path.read_text(encoding="utf-8")) for path in sorted((project / "package" / "data").rglob("*.ndjson"))])


def compared(rig, name, catalog):
    """The number of rows and of cells that are the same in both."""
    project = rig.folder / "cookbook" / name
    shutil.rmtree(project, ignore_errors=True)
    for path, content in contents_of(name).items():
        target = project / "logs" / name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    (project / "catalog.yaml").write_text(catalog, encoding="utf-8")
    log = LOGS[name]
    everything = list(log.read(files_of(name)))
    inside = [row for instant, row in everything if START <= instant < END]
    if not 0 < len(inside) < len(everything):
        raise Failed(f"cookbook/{name}: the window has {len(inside)} of {len(everything)} rows, so it does not cut")
    columns = log.unknown.union(*(row for _, row in everything))
    rows = cells = 0
    for filters in [None, log.filters] if log.filters else [None]:
        expected = [row for row in inside if not filters or log.keeps(row)]
        if filters and not 0 < len(expected) < len(inside):
            raise Failed(f"cookbook/{name}: the filters keep {len(expected)} of {len(inside)} rows, so they do not choose")
        found = exported(rig, project, filters)
        if len(expected) != len(found):
            raise Failed(f"{name}, filters {filters}: {len(found)} rows, not {len(expected)}")
        for number, (ours, theirs) in enumerate(zip(found, expected), 1):
            if without_nulls(ours) != without_nulls(theirs):
                raise Failed(f"{name}, filters {filters}: row {number} is\n{ours}\nand not\n{theirs}")
            if ours.keys() != found[0].keys() or not ours.keys() <= columns:
                raise Failed(f"{name}, filters {filters}: row {number} has {list(ours)}, and the input {sorted(columns)}")
            cells += len(ours)
        rows += len(found)
    return rows, cells


def run(rig):
    catalogs = entries()
    inputs = {path.name for path in INPUT.iterdir()}
    all_names = catalogs.keys() | inputs | LOGS.keys()
    there = {
        "an entry in docs/cookbook.md": catalogs,
        "an input in tests/formats/cookbook": inputs,
        "a reader in cookbook.py": LOGS,
    }
    for what, names in there.items():
        missing = all_names - set(names)
        if missing:
            raise Failed(f"without {what}: {', '.join(sorted(missing))}")
    rows = cells = 0
    for name, catalog in catalogs.items():
        counts = compared(rig, name, catalog)
        rows, cells = rows + counts[0], cells + counts[1]
    filtered = sum(1 for log in LOGS.values() if log.filters)
    return f"{len(catalogs)} logs, {filtered} of them also with filters, {rows} rows, {cells} cells"
