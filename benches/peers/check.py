"""Reads what kt-export wrote back with DuckDB, and compares it with the source, value by value.

usage: check.py CASE DATA PACKAGE

Of every column, how many values are not null, and the sum of the hashes of each value together with its row's id: one
value that is lost, changed or in another row shows.
"""

import sys
from pathlib import Path

import duckdb

from cases import CASES, COLUMNS, END, START, STATUSES, Case

TYPES = {
    "event_id": "varchar",
    "occurred_at": "timestamptz",
    "team": "varchar",
    "actor_user_id": "varchar",
    "session_id": "varchar",
    "provider": "varchar",
    "model": "varchar",
    "policy": "varchar",
    "status": "varchar",
    "latency_ms": "integer",
    "prompt_tokens": "bigint",
    "completion_tokens": "bigint",
    "cost_usd": "decimal(12, 6)",
    "risk_score": "double",
    "cached": "boolean",
    "client_ip": "varchar",
    "message": "varchar",
    "metadata": "varchar",
}


def table(connection: duckdb.DuckDBPyConnection, form: str, files: Path, columns: list[str]) -> str:
    """A query for the columns of some files, each with its type. What is nested is JSON text, as in the other files."""
    as_text = ", ".join(f"{name}: 'varchar'" for name in columns)
    reader = {
        "parquet": f"read_parquet('{files}', hive_partitioning = false)",
        "csv": f"read_csv('{files}', all_varchar = true, header = true, allow_quoted_nulls = false)",
        "ndjson": f"read_ndjson('{files}', columns = {{{as_text}}})",
    }[form]
    stored = {name: kind for name, kind, *_ in connection.execute(f"describe from {reader}").fetchall()}
    flat = {name: f"to_json({name})" if stored[name].startswith("STRUCT") else name for name in columns}
    return f"select {', '.join(f'{flat[name]}::{TYPES[name]} as {name}' for name in columns)} from {reader}"


def totals(connection: duckdb.DuckDBPyConnection, rows: str, columns: list[str]) -> dict[str, tuple[int, int]]:
    """Of the rows and of each column, a count and a checksum."""
    sums = ", ".join(f"count({name}), sum(hash(event_id, {name}))" for name in columns)
    numbers = connection.execute(f"select count(*), count(distinct event_id), {sums} from ({rows})").fetchone()
    assert numbers is not None
    return dict(zip(["rows", *columns], zip(numbers[::2], numbers[1::2], strict=True), strict=True))


def differences(case: Case, data: Path, package: Path) -> list[str]:
    """What is not as in the source."""
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    columns = COLUMNS if case.filtered else list(TYPES)
    source = data / case.source / "*.ndjson" if case.source_format == "ndjson" else data / case.source
    wanted_rows = (
        f"from ({table(connection, case.source_format, source, columns)}) "
        f"where occurred_at >= timestamptz '{START}' and occurred_at < timestamptz '{END}'"
    )
    if case.filtered:
        wanted_rows += f" and status in ({', '.join(repr(status) for status in STATUSES)})"
    wanted = totals(connection, wanted_rows, columns)
    shards = package / "data" / "*" / f"*.{case.extension}"
    found = totals(connection, table(connection, case.shards, shards, columns), columns)
    pairs = {what: (wanted[what], found[what]) for what in wanted}
    return [f"{what}: {want} in the source, {got} exported" for what, (want, got) in pairs.items() if want != got]


def main() -> None:
    """Compares, and says so."""
    case, data, package = CASES[sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3])
    if found := differences(case, data, package):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
