"""Runs kt-export and its peers over the same jobs, in turn, and prints tables of medians and ratios.

Linux only: the peak of a process's memory is read as Linux tells it.
"""

import argparse
import importlib.metadata
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cases import CASES, Case
from peers import PEERS

HERE = Path(__file__).parent
OURS = "kt-export"


@dataclass(frozen=True)
class Run:
    """One export by one program: seconds, and the most memory that its process had."""

    export: float
    same_work: float
    peak_mb: float


@dataclass(frozen=True)
class Result:
    """All runs of one program over one case. A ratio is to our run of the same round; above 1, ours was faster."""

    program: str
    export: float
    same_work: float
    peak_mb: float
    output_mb: float
    export_ratio: float
    same_work_ratio: float

    @classmethod
    def of(cls, program: str, runs: list[Run], ours: list[Run], output_mb: float) -> "Result":
        """The medians."""
        rounds = list(zip(runs, ours, strict=True))
        return cls(
            program,
            median(run.export for run in runs),
            median(run.same_work for run in runs),
            median(run.peak_mb for run in runs),
            output_mb,
            median(run.export / our.export for run, our in rounds),
            median(run.same_work / our.export for run, our in rounds),
        )


class Failed(Exception):
    """A program did not exit with 0."""


def median(values: Iterable[float]) -> float:
    """Of at least one value."""
    return statistics.median(values)


def measure(command: list[str | Path], output: Path) -> tuple[float, float]:
    """Seconds and peak megabytes of a whole process. What it prints goes to a file."""
    arguments = [str(part) for part in command]
    with output.open("wb") as printed:
        to_file = [(os.POSIX_SPAWN_DUP2, printed.fileno(), stream) for stream in (1, 2)]
        started = time.monotonic()
        process = os.posix_spawnp(arguments[0], arguments, os.environ, file_actions=to_file)
        _, status, usage = os.wait4(process, 0)
    if status != 0:
        raise Failed(output.read_text(errors="replace").strip()[-500:])
    return time.monotonic() - started, usage.ru_maxrss * 1024 / 1e6


def run_once(program: str, ours: str, case: Case, data: Path, work: Path) -> Run:
    """Exports once, into a folder that is not there yet."""
    out, output = work / program, work / f"{program}.txt"
    shutil.rmtree(out, ignore_errors=True)
    if program == OURS:
        spec = work / "spec.yaml"
        spec.write_text(case.spec(data, out))
        seconds, peak_mb = measure([ours, "run", spec, "--progress", "never"], output)
        return Run(seconds, seconds, peak_mb)
    _, peak_mb = measure([sys.executable, HERE / "peers.py", program, case.name, data, out], output)
    export, same_work = map(float, output.read_text().splitlines()[-1].split())
    return Run(export, same_work, peak_mb)


def run_case(case: Case, options: argparse.Namespace, work: Path) -> list[Result]:
    """Ours first, then the peers that did not fail."""
    runs: dict[str, list[Run]] = {program: [] for program in [OURS, *options.peers]}
    for counts in [False] + [True] * options.rounds:  # the first round fills the cache of files
        for program in list(runs):
            try:
                run = run_once(program, options.ours, case, options.data, work)
            except Failed as failed:
                if program == OURS:
                    sys.exit(f"{case.name}: {OURS} failed: {failed}")
                print(f"{case.name}: {program} failed and is left out: {failed}\n")
                del runs[program]
            else:
                if counts:
                    runs[program].append(run)
    return [Result.of(program, its, runs[OURS], megabytes(work / program)) for program, its in runs.items()]


def megabytes(folder: Path) -> float:
    """Of all files in it."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def print_table(head: list[str], rows: Iterable[list[str]]) -> None:
    """In Markdown."""
    for cells in [head, ["---"] * len(head), *rows]:
        print(f"| {' | '.join(cells)} |")
    print()


def print_case(case: Case, results: list[Result]) -> None:
    """All programs."""
    print(f"## {case.name}\n")
    head = ["program", "export s", "same work s", "peak MB", "output MB", "export ÷ ours", "same work ÷ ours"]
    print_table(
        head,
        (
            [
                result.program,
                f"{result.export:.2f}",
                f"{result.same_work:.2f}",
                f"{result.peak_mb:.0f}",
                f"{result.output_mb:.1f}",
                f"{result.export_ratio:.2f}",
                f"{result.same_work_ratio:.2f}",
            ]
            for result in results
        ),
    )


def print_summary(results: dict[str, list[Result]]) -> None:
    """Ours against the fastest peer of each case, and where ours loses to any."""
    rows, lost = [], []
    for case, (ours, *peers) in results.items():
        if not peers:
            continue
        peer = min(peers, key=lambda result: result.export)
        rows.append(
            [
                case,
                f"{ours.export:.2f}",
                f"{peer.export:.2f} ({peer.program})",
                f"{peer.same_work:.2f}",
                f"{peer.export_ratio:.2f}",
                f"{peer.same_work_ratio:.2f}",
                f"{ours.peak_mb:.0f}",
                f"{peer.peak_mb:.0f}",
            ]
        )
        for peer in peers:
            for what, ratio in [("export", peer.export_ratio), ("same work", peer.same_work_ratio)]:
                if ratio < 1:
                    lost.append(f"{case} to {peer.program} ({what} {ratio:.2f})")
    if not rows:
        return
    print("## Summary\n")
    head = ["case", "ours s", "fastest peer export s", "same work s", "export ÷ ours", "same work ÷ ours"]
    print_table([*head, "our peak MB", "its peak MB"], rows)
    print(f"{OURS} loses: {', '.join(lost) or 'nowhere'}.\n")


def print_versions(options: argparse.Namespace) -> None:
    """Of the programs and of the machine."""
    ours = subprocess.run([options.ours, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    versions = [ours, *(f"{peer} {importlib.metadata.version(peer)}" for peer in options.peers)]
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = models[0].partition(":")[2].strip() if models else platform.machine()
    print(f"{', '.join(versions)}, Python {platform.python_version()}.")
    print(f"{processor}, {os.cpu_count()} cores; rounds: {options.rounds}.")


def parse_options() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder that make_data.py filled")
    parser.add_argument("--ours", required=True, help="the kt-export program")
    parser.add_argument("--case", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS), help="default: all")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count, after one that does not; default: 5")
    parser.add_argument("--check", action="store_true", help="compare what kt-export wrote with the source")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    options.data = options.data.resolve()
    return options


def main() -> None:
    """Exits with 1 where a check found a difference."""
    options = parse_options()
    results: dict[str, list[Result]] = {}
    wrong = []
    for name in options.case:
        case = CASES[name]
        # On the disk of the data: a folder in memory would make an fsync free.
        with tempfile.TemporaryDirectory(prefix="exports-", dir=options.data) as work:
            results[name] = run_case(case, options, Path(work))
            print_case(case, results[name])
            if options.check:
                # In a process of its own: the memory of this one would count as its children's.
                command = [sys.executable, HERE / "check.py", name, options.data, Path(work) / OURS]
                checked = subprocess.run(command, capture_output=True, text=True)
                if checked.returncode != 0:
                    wrong.append(name)
                print(f"Check: {'as in the source' if checked.returncode == 0 else checked.stderr.strip()}\n")
        sys.stdout.flush()
    print_summary(results)
    print_versions(options)
    if wrong:
        sys.exit(f"not as in the source: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
