"""What must hold of packages as evidence, each as one function that raises `Failed` where it does not."""

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import data
import pyarrow.parquet as pq
import pyrage
import zstandard
from program import Failed

DAYS = 3
IDENTITY = "evidence@example.com"
WINDOW = f"window: {{date_from: 2026-01-01, date_to: 2026-01-{DAYS:02}}}"
DOCS = Path(__file__).resolve().parent.parent.parent / "docs"

# What a spec names and no output may hold.
CANARIES = {
    "CANARY_PSEUDONYM_KEY": "canary-pseudonym-key-6f1d",
    "CANARY_FOOTER_KEY": base64.b64encode(b"canary-footer-k!").decode(),
    "CANARY_COLUMN_KEY": base64.b64encode(b"canary-column-k!").decode(),
}
CANARY_VALUE = "canary.person@example.com"


def shell(command, folder, **environment):
    """Runs a command as it is printed, in a shell that knows the usual tools and not the program."""
    clean = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"} | environment
    run = subprocess.run(["sh", "-eu", "-c", command], cwd=folder, env=clean, capture_output=True)
    if run.returncode:
        said = (run.stdout + run.stderr).decode(errors="replace")
        raise Failed(f"$ {command}\nexit {run.returncode}\n{said}")
    return run.stdout.decode(errors="replace")


def must(holds, why):
    if not holds:
        raise Failed(why)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


class Rig:
    """A project with sources and keys of all kinds, made by other people's tools."""

    def __init__(self, program, folder):
        self.program, self.project = program, folder / "project"
        (self.project / "data").mkdir(parents=True)
        for name, text in data.daily_ndjson(DAYS, 200):
            (self.project / "data" / name).write_bytes(text)
        self.auditor = folder / "auditor"
        self.auditor.mkdir()
        shell("ssh-keygen -q -t ed25519 -N '' -C '' -f signer && age-keygen -o age.key 2>/dev/null", self.project)
        public = (self.project / "signer.pub").read_text()
        (self.auditor / "allowed_signers").write_text(f'{IDENTITY} namespaces="kt-export" {public}')
        self.age = shell("age-keygen -y age.key", self.project).strip()
        self.other = pyrage.x25519.Identity.generate()

    def spec(self, name, rest):
        spec = f"version: 1\nname: {name}\ntype: events\nsource: {{uri: data/}}\n{WINDOW}\n"
        spec += f"output: {{uri: out/{name}}}\n{rest}\n"
        (self.project / f"{name}.yaml").write_text(spec)
        return f"{name}.yaml"

    def call(self, *args, environment=None):
        return self.program.call(self.project, args, environment)

    def export(self, name, rest, environment=None):
        """A complete package of a spec."""
        self.call("run", self.spec(name, rest), "--progress", "never", environment=environment).exits(0)
        return self.project / "out" / name

    def manifest(self, package):
        return json.loads((package / "manifest.json").read_text())

    def encryption(self):
        recipients = f"{self.age}, {self.other.to_public()}"
        return f"encryption: {{age: {{recipients: [{recipients}]}}}}"

    def signing(self):
        return f"sign: {{ssh_key_file: signer, identity: {IDENTITY}}}"


def plain_shards(rig, package):
    """Partition to the decompressed bytes of its shard, in an unencrypted package."""
    shards = {}
    for file in rig.manifest(package)["files"]:
        bytes_ = (package / file["path"]).read_bytes()
        if file["path"].endswith(".zst"):
            bytes_ = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(bytes_)).read()
        shards[file["partition"]["label"]] = bytes_
    return shards


def stock_tools_accept_a_package(rig):
    package = rig.export("signed", rig.signing())
    shell("sha256sum -c --quiet SHA256SUMS", package)
    verify = (
        f"ssh-keygen -Y verify -f {rig.auditor}/allowed_signers -I {IDENTITY} -n kt-export -s manifest.json.sig < manifest.json"
    )
    said = shell(verify, package)
    must("Good" in said and IDENTITY in said, said)
    changed = rig.auditor / "changed"
    shutil.copytree(package, changed)
    manifest = changed / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"total_rows": 6', '"total_rows": 7'))
    for command in ("sha256sum -c --quiet SHA256SUMS", verify):
        try:
            shell(command, changed)
        except Failed:
            continue
        raise Failed(f"accepts a changed manifest: {command}")
    return "sha256sum, ssh-keygen -Y verify"


def age_opens_every_encrypted_file(rig):
    count = 0
    for format_ in ("csv", "ndjson", "json", "parquet"):
        plain = plain_shards(rig, rig.export(f"plain-{format_}", f"format: {format_}"))
        package = rig.export(f"sealed-{format_}", f"format: {format_}\n{rig.encryption()}")
        shell("sha256sum -c --quiet SHA256SUMS", package)
        for file in rig.manifest(package)["files"]:
            path = package / file["path"]
            must(path.suffix == ".age", f"{path} does not end with .age")
            shell(f"age -d -i age.key -o opened {path}", rig.project)
            opened = (rig.project / "opened").read_bytes()
            (rig.project / "opened").unlink()
            by_another = pyrage.decrypt(path.read_bytes(), [rig.other])
            must(opened == by_another, f"{path}: age and pyrage read other bytes")
            must(sha256(opened) == file["plain_sha256"], f"{path}: plain_sha256 is of other bytes")
            must(len(opened) == file["plain_bytes"], f"{path}: plain_bytes is another number")
            out = rig.project / "decrypted"
            rig.call("decrypt", str(path), "--identity", "age.key", "--output", str(out)).exits(0)
            must(out.read_bytes() == opened, f"{path}: decrypt gives other bytes than age -d")
            out.unlink()
            if ".zst" in path.suffixes:
                opened = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(opened)).read()
            must(opened == plain[file["partition"]["label"]], f"{path} holds other rows than an unencrypted shard")
            count += 1
    return f"{count} files of four formats by age, pyrage and decrypt"


def pyarrow_reads_encrypted_parquet(rig):
    import pyarrow.parquet.encryption as encryption

    keys = {"CANARY_FOOTER_KEY": "footer", "CANARY_COLUMN_KEY": "column.message"}
    spec = "encryption: {parquet: {footer_key_env: CANARY_FOOTER_KEY, columns: {message: {key_env: CANARY_COLUMN_KEY}}}}"
    plain = rig.export("plain-columns", "format: parquet")
    package = rig.export("sealed-columns", f"format: parquet\n{spec}", CANARIES)
    by_name = {name: base64.b64decode(CANARIES[variable]) for variable, name in keys.items()}

    class Given(encryption.KmsClient):
        """Hands out the keys that the auditor was given, by the names that the files have for them."""

        def __init__(self, _):
            super().__init__()

        def wrap_key(self, key_bytes, master_key_identifier):
            raise NotImplementedError

        def unwrap_key(self, wrapped_key, master_key_identifier):
            return by_name[master_key_identifier]

    factory = encryption.CryptoFactory(Given)
    properties = factory.file_decryption_properties(encryption.KmsConnectionConfig())
    wanted = {f["partition"]["label"]: f["path"] for f in rig.manifest(plain)["files"]}
    rows = 0
    for file in rig.manifest(package)["files"]:
        path = package / file["path"]
        read = pq.ParquetFile(path, decryption_properties=properties).read()
        same = pq.read_table(plain / wanted[file["partition"]["label"]])
        must(read.equals(same), f"{path} holds other rows than an unencrypted shard")
        rows += read.num_rows
        try:
            pq.read_table(path)
        except OSError:
            continue
        raise Failed(f"{path} can be read without a key")
    return f"{rows} rows"


ALL = [
    stock_tools_accept_a_package,
    age_opens_every_encrypted_file,
    pyarrow_reads_encrypted_parquet,
]
