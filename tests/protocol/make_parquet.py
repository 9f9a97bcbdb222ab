#!/usr/bin/env python3
"""Writes a Parquet file with many small row groups, as the program itself does not write it.

make_parquet.py FILE
"""

import datetime
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.append(str(Path(__file__).resolve().parent.parent / "rig"))

import tools  # noqa: E402

ROWS = 60_000
ROW_GROUP_ROWS = 100


def main():
    tools.enter("protocol", __file__)
    import pyarrow
    import pyarrow.parquet

    start = datetime.datetime(2026, 3, 1, tzinfo=datetime.timezone.utc)
    times = [start + datetime.timedelta(seconds=second) for second in range(ROWS)]
    columns = {
        "id": [f"e{number:07d}" for number in range(ROWS)],
        "t": pyarrow.array(times, pyarrow.timestamp("us", "UTC")),
        "v": list(range(ROWS)),
    }
    pyarrow.parquet.write_table(pyarrow.table(columns), sys.argv[1], row_group_size=ROW_GROUP_ROWS)


if __name__ == "__main__":
    main()
