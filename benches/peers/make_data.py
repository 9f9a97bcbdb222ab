"""Makes the events that are exported: what a gateway before language models would log from January to March 2026.

usage: make_data.py ROWS DIR

DIR/events.parquet has ROWS rows in order of time. DIR/events.csv (in no order) and DIR/ndjson/<day>.ndjson have a tenth
as many. One version of DuckDB always makes the same bytes.
"""

import sys
from pathlib import Path

import duckdb

DAYS = 90
MICROSECONDS = DAYS * 24 * 60 * 60 * 1_000_000


def events(rows: int) -> str:
    """A query for so many events, drawn from hashes of their numbers."""
    return f"""
    with drawn as (
        select
            n,
            timestamptz '2026-01-01 00:00:00+00'
                + to_microseconds((n::hugeint * {MICROSECONDS} // {rows})::bigint) as occurred_at,
            list_transform(range(16), lambda salt: (hash(n, salt) >> 1)::bigint) as draw
        from range({rows}) as numbers(n)
    )
    select
        printf('%08x-%04x-4%03x-8%03x-%012x', draw[1] % 4294967296, draw[2] % 65536, draw[2] // 65536 % 4096,
            draw[3] % 4096, draw[3] // 4096 % 281474976710656) as event_id,
        occurred_at,
        'team-' || (draw[4] % 60) as team,
        printf('user-%05d', draw[4] // 60 % 8000) as actor_user_id,
        case when draw[5] % 4 > 0 then printf('sess-%010x', draw[5] // 4 % 900000 * 1000003) end as session_id,
        case draw[6] % 3 when 0 then 'openai' when 1 then 'anthropic' else 'self-hosted' end as provider,
        case draw[6] % 3 when 0 then 'gpt-5' when 1 then 'claude-opus-4' else 'llama-4-70b' end as model,
        ['pii', 'secrets', 'toxicity', 'jailbreak', 'off-topic', 'licence'][1 + draw[7] % 6]
            || '@' || (1 + draw[7] // 6 % 12) as policy,
        case when draw[8] % 100 < 62 then 'allowed' when draw[8] % 100 < 75 then 'blocked'
             when draw[8] % 100 < 88 then 'redacted' when draw[8] % 100 < 96 then 'escalated'
             else 'error' end as status,
        (20 + draw[9] % 29980)::integer as latency_ms,
        draw[10] % 16000 as prompt_tokens,
        case when draw[8] % 100 < 96 then draw[10] // 16000 % 4000 end as completion_tokens,
        (draw[11] % 2000000 / 1000000)::decimal(12, 6) as cost_usd,
        draw[12] % 1000003 / 1000003 as risk_score,
        draw[13] % 5 = 0 as cached,
        concat_ws('.', 10, draw[13] // 5 % 256, draw[13] // 1280 % 256, draw[13] // 327680 % 256) as client_ip,
        case draw[14] % 25
            when 0 then null
            when 1 then ''
            when 2 then 'stopped by rule "' || (draw[14] // 25 % 90) || '", see runbook'
            when 3 then 'first line' || chr(10) || 'second line, indented:' || chr(9) || (draw[14] // 25 % 1000)
            when 4 then 'Größe überschritten – 超出限制 ✓ ' || (draw[14] // 25 % 1000)
            else 'forwarded to upstream ' || (draw[14] // 25 % 40) || repeat(' after one more try', draw[15] % 4)
        end as message,
        '{{"zone":"eu-' || (draw[16] % 4) || '","retries":' || (draw[16] // 4 % 3) || ',"labels":["prod","v'
            || (draw[16] // 12 % 20) || '"]}}' as metadata
    from drawn
    """


def main() -> None:
    """Writes all files."""
    if len(sys.argv) != 3:
        sys.exit("usage: make_data.py ROWS DIR")
    rows, folder = int(sys.argv[1].replace(",", "").replace("_", "")), Path(sys.argv[2])
    (folder / "ndjson").mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    connection.execute(f"copy ({events(rows)}) to '{folder}/events.parquet' (format parquet, compression zstd)")

    connection.execute(f"create temp table tenth as {events(rows // 10)}")
    as_text = "strftime(occurred_at, '%Y-%m-%dT%H:%M:%S.%fZ') as occurred_at"
    connection.execute(
        f"copy (select * replace ({as_text}) from tenth order by md5(event_id)) to '{folder}/events.csv' (format csv)"
    )
    days = connection.execute("select distinct strftime(occurred_at, '%Y-%m-%d') from tenth order by all").fetchall()
    for (day,) in days:
        rows_of_day = f"occurred_at >= '{day}' and occurred_at < timestamptz '{day}' + interval 1 day"
        connection.execute(
            f"copy (select * replace ({as_text}, metadata::json as metadata) from tenth where {rows_of_day}) "
            f"to '{folder}/ndjson/{day}.ndjson' (format json)"
        )
    print(f"{rows:,} events in {folder}/events.parquet, {rows // 10:,} each in events.csv and ndjson/")


if __name__ == "__main__":
    main()
