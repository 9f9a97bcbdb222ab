"""The jobs that are timed: a source, what of February 2026 to keep, and the form of its 28 daily shards."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

START = datetime(2026, 2, 1, tzinfo=UTC)
END = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = [START + timedelta(days=day) for day in range((END - START).days)]

STATUSES = ["blocked", "redacted", "escalated"]
COLUMNS = ["event_id", "occurred_at", "actor_user_id", "model", "policy", "status", "latency_ms", "cost_usd"]


@dataclass(frozen=True)
class Case:
    """One job. `source` is below the data folder; a filtered job keeps `STATUSES` and `COLUMNS` only."""

    name: str
    source: str
    shards: str
    zstd: bool = False
    filtered: bool = False

    @property
    def source_format(self) -> str:
        """`parquet`, `csv` or `ndjson`: the extension of a file, the name of a folder."""
        return self.source.rsplit(".", 1)[-1]

    @property
    def extension(self) -> str:
        """Of the shards."""
        return f"{self.shards}.zst" if self.zstd else self.shards

    def spec(self, data: Path, out: Path) -> str:
        """The job as a spec of kt-export."""
        source = f'uri: "{data / self.source}", format: {self.source_format}'
        if self.source_format == "ndjson":
            source += ', path_time: {pattern: "%Y-%m-%d.ndjson", covers: day}'
        lines = [
            "version: 1",
            f"name: {self.name}",
            "type: events",
            f"source: {{{source}}}",
            f"window: {{start: {START:%Y-%m-%dT%H:%M:%SZ}, end: {END:%Y-%m-%dT%H:%M:%SZ}}}",
            "partition: {by: day}",
            f"format: {self.shards}",
            f'output: {{uri: "{out}"}}',
        ]
        if self.zstd:
            lines.append("compression: {zstd: 3}")
        elif self.shards != "parquet":
            lines.append("compression: none")
        if self.filtered:
            lines += [f"filters: {{statuses: [{', '.join(STATUSES)}]}}", f"columns: [{', '.join(COLUMNS)}]"]
        return "\n".join(lines) + "\n"


CASES = {
    case.name: case
    for case in [
        Case("parquet-csv", "events.parquet", "csv"),
        Case("parquet-csvzst", "events.parquet", "csv", zstd=True),
        Case("parquet-ndjson", "events.parquet", "ndjson"),
        Case("parquet-parquet", "events.parquet", "parquet"),
        Case("filter-csv", "events.parquet", "csv", filtered=True),
        Case("csv-fanout", "events.csv", "csv"),
        Case("ndjson-parquet", "ndjson", "parquet"),
    ]
}
