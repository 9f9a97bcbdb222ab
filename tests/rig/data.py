"""Sources, the same at every call."""

import datetime
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq

UTC = datetime.timezone.utc
FIRST_DAY = datetime.datetime(2026, 1, 1, tzinfo=UTC)
STATUSES = ["allowed", "blocked", "escalated"]


def events(rng, start, rows, message=40):
    """Gateway events, evenly over one day."""
    step = datetime.timedelta(days=1) / rows
    for number in range(rows):
        yield {
            "event_id": f"{rng.getrandbits(64):016x}",
            "occurred_at": (start + step * number).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "status": rng.choice(STATUSES),
            "team": rng.choice(["search", "support", "Zürich, \"north\"", None]),
            "latency_ms": rng.randrange(30_000),
            "cost_usd": rng.randrange(10**6) / 10**4,
            "message": rng.randbytes(message // 2).hex(),
            "metadata": {"retries": rng.randrange(3), "tags": ["a", "b"][: rng.randrange(3)]},
        }


def daily_ndjson(days, rows, message=40):
    """Name and bytes of one file a day, from 2026-01-01 on."""
    rng = random.Random(1)
    for day in range(days):
        start = FIRST_DAY + datetime.timedelta(days=day)
        lines = (json.dumps(event, ensure_ascii=False) for event in events(rng, start, rows, message))
        yield f"{start:%Y-%m-%d}.ndjson", "".join(f"{line}\n" for line in lines).encode()


def parquet(path, days, rows, message=80):
    """One file of so many days, a row group each."""
    rng = random.Random(2)
    schema = pa.schema(
        [("event_id", pa.string()), ("occurred_at", pa.timestamp("us", "UTC")), ("status", pa.string())]
        + [("latency_ms", pa.int64()), ("message", pa.string())]
    )
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for day in range(days):
            start = FIRST_DAY + datetime.timedelta(days=day)
            step = datetime.timedelta(days=1) / rows
            columns = [
                [f"{rng.getrandbits(64):016x}" for _ in range(rows)],
                [start + step * number for number in range(rows)],
                [rng.choice(STATUSES) for _ in range(rows)],
                [rng.randrange(30_000) for _ in range(rows)],
                [rng.randbytes(message // 2).hex() for _ in range(rows)],
            ]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=rows)


def cloudtrail(days, rows):
    """Documents with an array of records, whose `requestParameters` are of several kinds."""
    rng = random.Random(3)
    for day in range(days):
        start = FIRST_DAY + datetime.timedelta(days=day)
        records = []
        for number in range(rows):
            parameters = rng.choice(
                [None, "raw text", {"bucketName": "b", "acl": [1, {"x": None}]}, {"instanceId": f"i-{number}"}]
            )
            record = {
                "eventTime": (start + datetime.timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "eventID": f"{rng.getrandbits(128):032x}",
                "eventName": rng.choice(["GetObject", "RunInstances", "AssumeRole"]),
                "userIdentity": {"type": "IAMUser", "sessionContext": {"attributes": {"mfa": str(rng.random() < 0.5)}}},
                "requestParameters": parameters,
            }
            if rng.random() < 0.2:
                record["errorCode"] = "AccessDenied"
            records.append(record)
        yield f"{start:%Y/%m/%d}/events.json", json.dumps({"Records": records}).encode()
