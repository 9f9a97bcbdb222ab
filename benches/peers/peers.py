"""One export by one peer, in a process of its own, the way the peer's documentation recommends.

usage: peers.py PEER CASE DATA OUT

Prints two numbers: the seconds of the export, and those of the same work that kt-export's export is: the export, then
the SHA-256 of every file and an fsync of each. What Python takes to start and to import the peer counts in neither.
"""

import hashlib
import importlib
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

from cases import CASES, COLUMNS, DAYS, END, START, STATUSES, Case

DIGEST_THREADS = 2

CSV_COLUMNS = """
    event_id varchar, occurred_at varchar, team varchar, actor_user_id varchar, session_id varchar, provider varchar,
    model varchar, policy varchar, status varchar, latency_ms int, prompt_tokens bigint, completion_tokens bigint,
    cost_usd double, risk_score double, cached boolean, client_ip varchar, message varchar, metadata varchar
"""


def with_duckdb(case: Case, data: Path, out: Path) -> None:
    """https://duckdb.org/docs/stable/data/partitioning/partitioned_writes"""
    import duckdb

    reader = {
        "parquet": f"read_parquet('{data}/{case.source}')",
        "csv": f"read_csv('{data}/{case.source}')",
        "ndjson": f"read_ndjson('{data}/{case.source}/*.ndjson')",
    }[case.source_format]
    form = {"csv": "format csv", "ndjson": "format json", "parquet": "format parquet, compression zstd"}[case.shards]
    if case.zstd:
        form += ", compression zstd"
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(f"""
        copy (
            select {sql_columns(case)}, strftime(occurred_at, '%Y-%m-%d') as day from {reader}
            where occurred_at >= timestamptz '{START}' and occurred_at < timestamptz '{END}'{sql_statuses(case)}
        ) to '{out}' ({form}, partition_by (day))
    """)


def with_polars(case: Case, data: Path, out: Path) -> None:
    """https://docs.pola.rs/user-guide/lazy/sources_sinks/

    Where a filter finds the rows of a day without reading everything, a sink for each day is faster than one sink with
    a key: of sorted Parquet most row groups are skipped, and the NDJSON file of a day is known by its name.
    """
    import polars as pl

    def day_rows(rows: pl.LazyFrame, start: datetime, end: datetime) -> pl.LazyFrame:
        rows = rows.filter(pl.col("occurred_at") >= start, pl.col("occurred_at") < end)
        return rows.filter(pl.col("status").is_in(STATUSES)).select(COLUMNS) if case.filtered else rows

    def sink(rows: pl.LazyFrame, target: Path | pl.PartitionBy) -> None:
        match case.shards:
            case "csv" if case.zstd:
                rows.sink_csv(target, mkdir=True, compression="zstd", compression_level=3)
            case "csv":
                rows.sink_csv(target, mkdir=True)
            case "ndjson":
                rows.sink_ndjson(target, mkdir=True)
            case "parquet":
                rows.sink_parquet(target, mkdir=True, compression="zstd")

    instant = pl.col("occurred_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_zone="UTC")
    if case.source_format == "csv":
        rows = pl.scan_csv(data / case.source).with_columns(instant)
        by_day = pl.PartitionBy(out, key=pl.col("occurred_at").dt.strftime("%Y-%m-%d").alias("day"), include_key=False)
        sink(day_rows(rows, START, END), by_day)
        return

    def export_day(day: datetime) -> None:
        if case.source_format == "ndjson":
            rows = pl.scan_ndjson(data / case.source / f"{day:%Y-%m-%d}.ndjson").with_columns(instant)
        else:
            rows = day_rows(pl.scan_parquet(data / case.source), day, day + timedelta(days=1))
        sink(rows, out / f"{day:%Y-%m-%d}.{case.extension}")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(export_day, DAYS))


def with_chdb(case: Case, data: Path, out: Path) -> None:
    """https://clickhouse.com/docs/sql-reference/table-functions/file#write-to-file"""
    import chdb

    names = {"csv": "CSVWithNames", "ndjson": "JSONEachRow", "parquet": "Parquet"}
    files = data / case.source / "*.ndjson" if case.source_format == "ndjson" else data / case.source
    chdb.query(f"""
        INSERT INTO FUNCTION file('{out}/{{_partition_id}}.{case.extension}', '{names[case.shards]}')
        PARTITION BY toString(toDate(occurred_at, 'UTC'))
        SELECT {sql_columns(case)} FROM file('{files}', '{names[case.source_format]}')
        WHERE occurred_at >= toDateTime64('{START:%Y-%m-%d %H:%M:%S}', 6, 'UTC')
            AND occurred_at < toDateTime64('{END:%Y-%m-%d %H:%M:%S}', 6, 'UTC'){sql_statuses(case)}
        SETTINGS date_time_input_format = 'best_effort', output_format_parquet_compression_method = 'zstd'
    """)


def with_datafusion(case: Case, data: Path, out: Path) -> None:
    """https://datafusion.apache.org/user-guide/sql/dml.html#copy

    CSV is given its columns: what DataFusion infers them from is cut at line ends, also at those within quotes.
    """
    from datafusion import SessionContext

    context = SessionContext()
    source = str(data / case.source)
    match case.source_format:
        case "parquet":
            context.register_parquet("events", source)
        case "ndjson":
            context.register_json("events", source, file_extension=".ndjson")
        case "csv":
            context.sql(f"""
                CREATE EXTERNAL TABLE events ({CSV_COLUMNS}) STORED AS CSV LOCATION '{source}'
                OPTIONS ('format.has_header' 'true', 'format.newlines_in_values' 'true')
            """)
    time = "occurred_at" if case.source_format == "parquet" else "to_timestamp(occurred_at)"
    form = {"csv": "CSV", "ndjson": "JSON", "parquet": "PARQUET"}[case.shards]
    options = "OPTIONS ('format.compression' 'zstd')" if case.zstd else ""
    context.sql(f"""
        COPY (
            SELECT {sql_columns(case)}, to_char({time}, '%Y-%m-%d') AS day FROM events
            WHERE {time} >= timestamp '{START:%Y-%m-%dT%H:%M:%SZ}'
                AND {time} < timestamp '{END:%Y-%m-%dT%H:%M:%SZ}'{sql_statuses(case)}
        ) TO '{out}/' STORED AS {form} PARTITIONED BY (day) {options}
    """).collect()


def sql_columns(case: Case) -> str:
    """What to select."""
    return ", ".join(COLUMNS) if case.filtered else "*"


def sql_statuses(case: Case) -> str:
    """One more condition, where the job is filtered."""
    return f" AND status IN ({', '.join(repr(status) for status in STATUSES)})" if case.filtered else ""


PEERS: dict[str, Callable[[Case, Path, Path], None]] = {
    "duckdb": with_duckdb,
    "polars": with_polars,
    "chdb": with_chdb,
    "datafusion": with_datafusion,
}


def make_evidence(file: Path) -> str:
    """The file's digest, once the file is on the disk."""
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        os.fsync(stream.fileno())
    return digest


def main() -> None:
    """Exports and says how long it took."""
    peer, case, data, out = sys.argv[1], CASES[sys.argv[2]], Path(sys.argv[3]).resolve(), Path(sys.argv[4]).resolve()
    importlib.import_module(peer)
    out.mkdir(parents=True)
    started = time.monotonic()
    PEERS[peer](case, data, out)
    exported = time.monotonic()
    with ThreadPoolExecutor(DIGEST_THREADS) as pool:
        list(pool.map(make_evidence, (path for path in out.rglob("*") if path.is_file())))
    print(exported - started, time.monotonic() - started)


if __name__ == "__main__":
    main()
