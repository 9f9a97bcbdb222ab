"""Programs and libraries that a rig needs: installed once into a cache, from the ordinary registries.

A rig is a folder beside this one with a script `run` and a `requirements.txt`. Its script calls `enter`, which comes back
only in the Python of the rig's own environment.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent


def cache(rig):
    """Where a rig keeps what it has installed: below `KT_EXPORT_CACHE`, by default below the build's own folder."""
    return Path(os.environ.get("KT_EXPORT_CACHE") or PROJECT / "target").resolve() / rig


def binary():
    """The program under test: the first argument, or the debug build."""
    found = Path(sys.argv[1] if len(sys.argv) > 1 else PROJECT / "target" / "debug" / "kt-export")
    if not found.is_file():
        sys.exit(f"{found} is not there: build it first, or name another")
    return found


def must(*command):
    """Runs a command that has to succeed; shows its output only if it does not."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}")


def programs(debian):
    """Has the commands at hand; on Debian installs what is missing. `debian` maps commands to packages."""
    missing = [package for command, package in dict(debian).items() if not shutil.which(command)]
    if missing:
        _apt(*missing)


def modules(rig, npm):
    """The folder of these npm packages."""
    folder = cache(rig) / "npm"
    stamp = folder / "installed"
    if not (stamp.exists() and stamp.read_text() == "\n".join(npm)):
        folder.mkdir(parents=True, exist_ok=True)
        must("npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--omit=optional", *npm)
        stamp.write_text("\n".join(npm))
    return folder / "node_modules"


def enter(rig, script, debian=(), npm=()):
    """Brings the cache up to date and goes on in its Python."""
    folder = cache(rig)
    python = folder / "venv" / "bin" / "python"
    if Path(sys.prefix) == folder / "venv":
        return
    started = time.monotonic()
    programs(debian)
    failed = []

    def in_the_background():
        try:
            modules(rig, npm)
        except SystemExit as end:
            failed.append(end.code)

    background = threading.Thread(target=in_the_background if npm else lambda: None)
    background.start()
    requirements = Path(script).resolve().parent / "requirements.txt"
    stamp = folder / "installed"
    is_new = not (stamp.exists() and stamp.read_text() == requirements.read_text() and python.exists())
    if is_new:
        try:
            import ensurepip  # noqa: F401
        except ImportError:
            _apt("python3-venv")
        must(sys.executable, "-m", "venv", "--clear", folder / "venv")
        must(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements)
        stamp.write_text(requirements.read_text())
    background.join()
    if failed:
        sys.exit(failed[0])
    if is_new:
        print(f"ok   tools are installed, {time.monotonic() - started:.0f} s", flush=True)
    os.execv(python, [python, script, *sys.argv[1:]])


def _apt(*packages):
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        sys.exit(f"needs {' '.join(packages)}: install them and run this again")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    must("apt-get", "update")
    must("apt-get", "install", "-y", "--no-install-recommends", *packages)
