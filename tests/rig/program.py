"""The program under test, called as a user calls it."""

import os
import subprocess
import threading
import time
from pathlib import Path

# Longer than anything here takes, shorter than a CI job.
TIMEOUT_SECONDS = 240


class Failed(Exception):
    """A check that does not hold, with all that helps to see why."""


class Outcome:
    """How a call ended: `code` is as a shell tells it."""

    def __init__(self, args, code, stdout, stderr, seconds, peak_bytes):
        self.args, self.stdout, self.stderr = args, stdout, stderr
        self.by_signal = code < 0
        self.code = 128 - code if self.by_signal else code
        self.seconds, self.peak_bytes = seconds, peak_bytes

    def __str__(self):
        return (
            f"$ kt-export {' '.join(self.args)}\nexit {self.code} after {self.seconds:.1f} s\n"
            f"--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"
        )

    def exits(self, *codes):
        if self.code not in codes:
            raise Failed(f"exit code {self.code}, not {' or '.join(map(str, codes))}\n{self}")
        return self

    def says(self, *texts):
        for text in texts:
            if text not in self.stdout + self.stderr:
                raise Failed(f"does not say {text!r}\n{self}")
        return self


class Call:
    """A call that is under way."""

    def __init__(self, command, folder, environment):
        self.args = [str(word) for word in command[1:]]
        self.started = time.monotonic()
        self.peak_bytes = 0
        self.process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        threading.Thread(target=self.watch_memory, daemon=True).start()

    def watch_memory(self):
        # The kernel's own high-water mark; the one that wait4 gives counts this process before exec, too.
        status = f"/proc/{self.process.pid}/status"
        while self.process.returncode is None:
            try:
                with open(status, encoding="ascii") as lines:
                    peak = next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM")), 0)
            except (OSError, ValueError):
                return
            self.peak_bytes = max(self.peak_bytes, peak)
            time.sleep(0.01)

    def signal(self, number):
        if self.process.returncode is None:
            self.process.send_signal(number)

    def wait(self):
        try:
            stdout, stderr = self.process.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            stdout, stderr = self.process.communicate()
            stderr += f"\nstill running after {TIMEOUT_SECONDS} s: killed"
        seconds = time.monotonic() - self.started
        code = self.process.returncode
        return Outcome(self.args, code, stdout, stderr, seconds, self.peak_bytes)


class Program:
    """A binary and an empty home."""

    def __init__(self, binary, home):
        self.binary = Path(binary).resolve()
        self.home = home
        home.mkdir()

    def start(self, folder, args, environment=None):
        clean = {"PATH": os.environ["PATH"], "HOME": str(self.home), "AWS_EC2_METADATA_DISABLED": "true"}
        for name in ("RUST_BACKTRACE", "TMPDIR"):
            if name in os.environ:
                clean[name] = os.environ[name]
        return Call([self.binary, *args], folder, clean | (environment or {}))

    def call(self, folder, args, environment=None):
        return self.start(folder, args, environment).wait()
