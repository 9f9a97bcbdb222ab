"""What must hold of text files that other programs wrote, each as one function that raises `Failed` where it does not."""

import csv
import io
import json
import random
import re
import shutil

import cookbook
from program import Failed

TIME = "2026-03-05T10:00:00Z"
COLUMNS = ["t", "n", "a", "b"]

# Python's name of an encoding, its label, and letters that it has.
ENCODINGS = [
    ("utf-8", "utf-8", "aé日\U0001f600"),
    ("utf-8-sig", "utf-8", "aé日\U0001f600"),
    ("utf-16-le", "utf-16le", "aé日\U0001f600"),
    ("utf-16-be", "utf-16be", "aé日\U0001f600"),
    ("utf-16", "windows-1252", "aé日\U0001f600"),
    ("cp1252", "windows-1252", "aé€ß"),
    ("latin-1", "iso-8859-1", "aéß"),
    ("shift_jis", "shift_jis", "a日本語"),
    ("euc_jp", "euc-jp", "a日本語"),
    ("iso2022_jp", "iso-2022-jp", "a日本語"),
    ("gb18030", "gb18030", "a日本\U0001f600"),
    ("big5", "big5", "a日本"),
    ("euc_kr", "euc-kr", "a한국"),
    ("koi8_r", "koi8-r", "aбж"),
]

# A line of a web server's log, of syslog, and of a load balancer.
LINES = [
    (
        r'^(?P<ip>\S+) \S+ (?P<user>\S+) \[(?P<t>[^\]]+)\] "(?P<request>[^"]*)" (?P<status>\d{3}) (?:-|(?P<bytes>\d+))',
        "%d/%b/%Y:%H:%M:%S %z",
        [
            '203.0.113.9 - frank [05/Mar/2026:10:00:00 +0000] "GET /a HTTP/1.1" 200 2326',
            '2001:db8::1 - - [05/Mar/2026:11:00:00 +0100] "GET /ä;b HTTP/1.1" 304 - "-" "curl/8"',
            '203.0.113.9 - - [05/Mar/2026:12:00:00 +0000] "" 408 0',
        ],
    ),
    (
        r"^<(?P<priority>\d+)>1 (?P<t>\S+) (?P<host>\S+) (?P<app>\S+) (?P<pid>\S+) \S+ (?:-|(?P<data>\[.*?\])) ?(?P<message>.*)$",
        "auto",
        [
            "<34>1 2026-03-05T10:00:00.003Z host su - ID47 - 'su root' failed",
            '<165>1 2026-03-05T11:00:00Z host evntslog 8710 ID47 [a@1 b="c"] An application event',
            "<165>1 2026-03-05T12:00:00Z host app - - -",
        ],
    ),
    (
        r"(?P<kind>http|https|h2) (?P<t>\S+) (?P<elb>\S+) (?P<client>\S+?):(?P<port>\d+)",
        "auto",
        [
            "http 2026-03-05T22:23:00.186641Z app/lb/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80",
            "h2 2026-03-05T22:23:01Z app/lb/50dc6c495c0c9188 [2001:db8::1]:443 -",
        ],
    ),
]


class Rig:
    """A folder for one export after the other, and the tables that the seed chooses."""

    def __init__(self, program, folder, seed):
        self.program, self.folder, self.random = program, folder, random.Random(seed)

    def export(self, source, files, rest, threads=None):
        """The rows of these files, in the order of their names."""
        project = self.folder / "project"
        shutil.rmtree(project, ignore_errors=True)
        (project / "data").mkdir(parents=True)
        for name, content in files.items():
            (project / "data" / name).write_bytes(content)
        spec = {
            "version": 1,
            "name": "formats",
            "type": "rows",
            "source": {"uri": "data/", **source},
            "time": {"column": "t"},
            "window": {"date": "2026-03-05"},
            "format": "ndjson",
            "compression": "none",
            "output": {"uri": "package"},
            **rest,
        }
        # JSON is YAML.
        (project / "spec.yaml").write_text(json.dumps(spec, ensure_ascii=False), encoding="utf-8")
        words = ["run", "spec.yaml", *(["--threads", str(threads)] if threads else [])]
        self.program.call(project, words).exits(0)
        rows = []
        for path in sorted((project / "package" / "data").rglob("*.ndjson")):
            rows += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return rows


def same(expected, found, what):
    if len(expected) != len(found):
        raise Failed(f"{what}: {len(expected)} rows, not {len(found)}")
    for number, (ours, theirs) in enumerate(zip(found, expected), 1):
        if ours != theirs:
            raise Failed(f"{what}: row {number} is {ours}, not {theirs}")


def a_table(random, letters, rows):
    """Rows with text that a dialect has to protect."""
    parts = ["", "a", "b c", "-", "0", "1.50", "\\", "\\\\", '"', '""', "'", ",", ";", "\t", "|", "\n", "\r\n", "#", *letters]
    text = lambda: "".join(random.choice(parts) for _ in range(random.randrange(5)))  # noqa: E731
    return [[TIME, str(number), text(), text()] for number in range(rows)]


def written(rows, dialect):
    text = io.StringIO(newline="")
    csv.writer(text, **dialect).writerows(rows)
    return text.getvalue()


def a_dialect(random):
    """Arguments of Python's csv module, and `source.csv`."""
    delimiter = random.choice([",", "\t", ";", "|", " ", "¦"])
    terminator = random.choice(["\n", "\r\n", "\r"])
    quotes = random.choice(["doubled", "escaped", "none"])
    if terminator == "\r":
        # Python's writer does not protect an LF beside this one, and its reader ends the row there.
        quotes = random.choice(["doubled", "escaped"])
    python = {"delimiter": delimiter, "lineterminator": terminator, "strict": True}
    ours = {"delimiter": delimiter}
    if quotes == "none":
        # What is escaped is then every delimiter, line end and escape character.
        python |= {"quoting": csv.QUOTE_NONE, "escapechar": "\\", "quotechar": None}
        ours |= {"quote": "none", "escape": "\\"}
    else:
        quote = random.choice(['"', "'"])
        python |= {"quotechar": quote, "quoting": csv.QUOTE_ALL if terminator == "\r" else random.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])}
        ours |= {"quote": quote}
        if quotes == "escaped":
            python |= {"doublequote": False, "escapechar": "\\"}
            ours |= {"escape": "\\"}
    return python, ours


def dialects_are_read_as_by_pythons_csv_module(rig):
    """The table goes through Python's writer and reader; what we export is what Python reads."""
    count, cells = 60, 0
    for number in range(count):
        python, ours = a_dialect(rig.random)
        rows = a_table(rig.random, "é日", rig.random.choice([1, 3, 40]))
        if python.get("quotechar") is None:
            # Python's reader takes an escaped CRLF for the end of the row, after the CR.
            rows = [[cell.replace("\r\n", "\n") for cell in row] for row in rows]
        text = written([COLUMNS, *rows], python)
        expected = list(csv.reader(io.StringIO(text, newline=""), **python))[1:]
        if rig.random.random() < 0.3:
            text, ours = "title, \"of\nno table\n" + text, {**ours, "skip_lines": 2}
        if rig.random.random() < 0.3:
            text, ours = text.removesuffix(python["lineterminator"]), {**ours, "last_line": "any"}
        schema = {"schema": {"n": "text", "a": "text", "b": "text"}}
        found = rig.export({"format": "csv", "csv": ours}, {"x.txt": text.encode()}, schema)
        # Python does not tell an empty cell from a null.
        found = [[row["t"], row["n"], row["a"] or "", row["b"] or ""] for row in found]
        same(expected, found, f"table {number}, {ours}")
        cells += len(COLUMNS) * len(expected)
    return f"{count} tables, {cells} cells"


def a_file_of_many_blocks_is_read_on_many_threads(rig):
    rows = a_table(rig.random, "é日", 150_000)
    python = {"delimiter": "\t", "lineterminator": "\n", "quotechar": '"', "doublequote": False, "escapechar": "\\"}
    text = "# a \"comment\n" + written([COLUMNS, *rows], python)
    ours = {"delimiter": "\t", "escape": "\\", "comment": "# "}
    found = rig.export({"format": "csv", "csv": ours}, {"x.csv": text.encode()}, {"schema": {"n": "text"}}, threads=4)
    found = [[row["t"], row["n"], row["a"] or "", row["b"] or ""] for row in found]
    # Python has no comments.
    same(list(csv.reader(io.StringIO(text.partition("\n")[2], newline=""), **python))[1:], found, "many blocks")
    return f"{len(found)} rows, {len(text) >> 20} MiB"


def encodings_are_read_as_by_python(rig):
    for codec, label, letters in ENCODINGS:
        rows = a_table(rig.random, letters, 30)
        text = written([COLUMNS, *rows], {"lineterminator": "\n"})
        schema = {"schema": {"n": "text", "a": "text", "b": "text"}}
        found = rig.export({"format": "csv", "csv": {"encoding": label}}, {"x.csv": text.encode(codec)}, schema)
        found = [[row["t"], row["n"], row["a"] or "", row["b"] or ""] for row in found]
        same(rows, found, codec)
    return f"{len(ENCODINGS)} encodings"


def lines_are_matched_as_by_pythons_re(rig):
    count = 0
    for pattern, time_format, lines in LINES:
        columns = re.compile(pattern).groupindex
        for end in ["\n", "\r\n"]:
            text = end.join(lines) + end
            expected = [{name: re.search(pattern, line)[name] for name in columns} for line in lines]
            rest = {"schema": {name: "text" for name in columns}, "time": {"column": "t", "format": time_format}}
            found = rig.export({"format": "lines", "lines": {"pattern": pattern}}, {"x.log": text.encode()}, rest)
            same(expected, found, pattern)
            count += len(found)
    return f"{len(LINES)} patterns, {count} lines"


def the_entries_of_the_cookbook_are_read_as_by_python(rig):
    return cookbook.run(rig)


ALL = [
    dialects_are_read_as_by_pythons_csv_module,
    a_file_of_many_blocks_is_read_on_many_threads,
    encodings_are_read_as_by_python,
    lines_are_matched_as_by_pythons_re,
    the_entries_of_the_cookbook_are_read_as_by_python,
]
