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
            facts = shell(f"echo '{file['sealed']['data']}' | base64 -d | age -d -i age.key", rig.project)
            facts = json.loads(facts)
            must(facts["sha256"] == file["sha256"], f"{path}: the sealed facts are those of another file")
            must(sha256(opened) == facts["plain_sha256"], f"{path}: plain_sha256 is of other bytes")
            must(len(opened) == facts["plain_bytes"], f"{path}: plain_bytes is another number")
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


def a_pack_is_checked_as_its_instructions_say(rig):
    rest = f"{rig.signing()}\n{rig.encryption()}\nchain: {{uri: chain/}}"
    package = rig.export("packed", rest)
    tars = [rig.project / name for name in ("one.tar", "two.tar")]
    for tar in tars:
        rig.call("pack", str(package), "--output", str(tar)).exits(0)
    must(tars[0].read_bytes() == tars[1].read_bytes(), "two packs of one package differ")
    room = rig.auditor / "room"
    room.mkdir()
    shutil.copy(tars[0], room)
    shutil.copy(rig.auditor / "allowed_signers", room)
    shutil.copy(rig.project / "age.key", room / "identity.txt")
    text = shell("tar -xOf one.tar --wildcards '*/VERIFY.txt'", room)
    commands = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    must(not any("kt-export" in command for command in commands if not command.startswith("ssh-keygen")), text)
    said = shell("\n".join(commands), room)
    must("manifest.json: OK" in said and "Good" in said and (room / "plain").is_dir(), said)
    return f"{len(commands)} commands"


def a_sample_is_the_same_twice_and_follows_from_its_rule(rig):
    package = rig.project / "out" / "packed"
    call = ("sample", str(package), "--rows", "25", "--seed", "7", "--identity", "age.key", "--json")
    once, again = rig.call(*call).exits(0), rig.call(*call).exits(0)
    must(once.stdout == again.stdout, "two samples by one seed differ")
    sample = json.loads(once.stdout)
    manifest, rows = sha256((package / "manifest.json").read_bytes()), []
    draw = 0
    while len(rows) < 25:
        draw += 1
        digest = sha256(f"kt-export sample 1 {manifest} 7 {draw}".encode())
        row = int(digest[:32], 16) % sample["population"] + 1
        if row not in rows:
            rows.append(row)
    found = [row["row"] for row in sample["rows"]]
    must(found == sorted(rows), f"rows {found}, but the rule gives {sorted(rows)}")
    rig.call(*call[:-3], "--json").exits(2).says("--identity")
    return "25 rows of encrypted shards"


def three_formats_have_one_digest_of_rows(rig):
    page = (DOCS / "conservation.md").read_text()
    program = re.search(r"```python\n(.*?)```", page, re.DOTALL).group(1)
    (rig.auditor / "rows_digest.py").write_text(program)
    digests = set()
    for format_ in ("csv", "ndjson", "parquet"):
        package = rig.export(f"rows-{format_}", f"format: {format_}\nrows_digest: true")
        rig.call("verify", "--rows", str(package)).exits(0)
        digests.add(rig.manifest(package)["rows_digest"])
        if format_ != "parquet":
            said = shell(f"python3 rows_digest.py {package}", rig.auditor)
            must(digests & set(said.split()), f"the program of the documentation says {said}")
    must(len(digests) == 1, f"{digests}")
    return digests.pop()[:32] + "…"


def pseudonyms_are_those_of_openssl(rig):
    key = CANARIES["CANARY_PSEUDONYM_KEY"]
    rest = "format: ndjson\ncompression: none\nredact: {event_id: {hmac_sha256: {key_env: CANARY_PSEUDONYM_KEY}}}"
    package = rig.export("pseudonyms", rest, CANARIES)
    first = rig.manifest(package)["files"][0]["path"]
    found = json.loads((package / first).read_text().splitlines()[0])["event_id"]
    raw = json.loads((rig.project / "data" / "2026-01-01.ndjson").read_text().splitlines()[0])["event_id"]
    said = shell(f"printf %s {raw} | openssl dgst -sha256 -hmac {key}", rig.auditor)
    must(found in said, f"{found} is not what openssl gives: {said}")
    return found[:16] + "…"


def no_secret_and_no_redacted_value_is_anywhere(rig):
    """Searches all bytes of packages, of the store of jobs and of what was said, as they are and decoded."""
    source = rig.project / "secrets"
    source.mkdir()
    rows = [
        {"event_id": f"e{n}", "occurred_at": f"2026-01-0{n % DAYS + 1}T00:00:0{n}Z", "actor_user_id": CANARY_VALUE}
        | {"message": f"from {CANARY_VALUE}", "metadata": {"user": {"email": CANARY_VALUE, "plan": "gold"}}}
        for n in range(9)
    ]
    lines = [json.dumps(row) for row in rows] + [f'{{"event_id": "{CANARY_VALUE}", "occurred_at": "never {CANARY_VALUE}"}}']
    (source / "events.ndjson").write_text("\n".join([*lines, f"not json {CANARY_VALUE}"]) + "\n")
    redact = (
        "redact: {actor_user_id: {hmac_sha256: {key_env: CANARY_PSEUDONYM_KEY}}, message: mask, event_id: nullify, "
        "metadata.user.email: drop}"
    )
    filters = f"filters: {{actor_user_id: {CANARY_VALUE}}}\non_bad_rows: reject"
    keys = "encryption: {parquet: {footer_key_env: CANARY_FOOTER_KEY, columns: {message: {key_env: CANARY_COLUMN_KEY}}}}"
    said = []
    for name, rest in [
        ("secret-csv", f"format: csv\n{filters}"),
        ("secret-ndjson", f"format: ndjson\n{filters}"),
        ("secret-parquet", f"format: parquet\n{keys}"),
    ]:
        spec = rig.spec(name, f"{redact}\n{rest}\n{rig.signing()}")
        text = (rig.project / spec).read_text().replace("uri: data/", "uri: secrets/")
        (rig.project / spec).write_text(text)
        for call in (["doctor", spec], ["plan", spec], ["run", spec, "-vv", "--log-format", "json", "--progress", "never"]):
            outcome = rig.call(*call, environment=CANARIES)
            said.append(outcome.stdout + outcome.stderr)
        package = str(rig.project / "out" / name)
        for call in (["verify", "--rows", package], ["report", package, "--format", "markdown"]):
            outcome = rig.call(*call, environment=CANARIES)
            said.append(outcome.stdout + outcome.stderr)
        must((rig.project / "out" / name / "_state" / "plan.json").exists(), "".join(said))
    secrets = [*CANARIES.values(), CANARY_VALUE]
    forms = {form for s in secrets for form in (s.encode(), s.encode().hex().encode(), base64.b64encode(s.encode()))}
    searched = 0
    for path in [p for p in (rig.project / "out").rglob("*") if p.is_file() and "secret-" in str(p)]:
        bytes_ = path.read_bytes()
        if path.name.endswith(".zst"):
            bytes_ += zstandard.ZstdDecompressor().stream_reader(io.BytesIO(bytes_)).read()
        for form in forms:
            must(form not in bytes_, f"{path} holds {form.decode()}")
        searched += 1
    for form in forms:
        must(form.decode() not in "".join(said), f"it said {form.decode()}:\n" + "".join(said))
    return f"{searched} files and {len(said)} outputs searched"


def twelve_months_show_what_is_missing(rig):
    year = rig.project / "year"
    year.mkdir()
    lines = [f'{{"event_id": "m{month}", "occurred_at": "2025-{month:02}-15T00:00:00Z"}}' for month in range(1, 13)]
    (year / "events.ndjson").write_text("\n".join(lines) + "\n")
    for month in range(1, 13):
        spec = (
            f"version: 1\nname: monthly\ntype: events\nsource: {{uri: year/}}\npartition: {{by: month}}\n"
            f"window: {{month: 2025-{month:02}}}\noutput: {{uri: months/2025-{month:02}}}\nchain: {{uri: links/}}\n"
            f"{rig.signing()}\n"
        )
        (rig.project / "month.yaml").write_text(spec)
        rig.call("run", "month.yaml", "--progress", "never").exits(0)
    signers = ("--allowed-signers", str(rig.auditor / "allowed_signers"), "--require-signature")
    check = ("verify", "months", "--chain", "links", *signers)
    rig.call("coverage", "months").exits(0)
    rig.call(*check).exits(0)
    months = rig.project / "months"

    def changed(what, undo, *texts):
        rig.call("coverage", "months").exits(5).says(texts[0])
        rig.call(*check).exits(5).says(*texts[1:])
        undo()
        rig.call(*check).exits(0)

    shutil.move(months / "2025-04", rig.project / "aside")
    changed("removed", lambda: shutil.move(rig.project / "aside", months / "2025-04"), "2025-04-01T00:00", "000004.json")
    shutil.move(months / "2025-05", rig.project / "aside")
    shutil.copytree(months / "2025-06", months / "2025-05")

    def back():
        shutil.rmtree(months / "2025-05")
        shutil.move(rig.project / "aside", months / "2025-05")

    changed("replaced", back, "2025-05-01T00:00", "000005.json")
    spec = (rig.project / "month.yaml").read_text()
    spec = spec.replace("month: 2025-12", "date_from: 2025-06-20, date_to: 2025-07-10").replace("2025-12", "odd")
    (rig.project / "month.yaml").write_text(spec.replace("chain: {uri: links/}\n", ""))
    rig.call("run", "month.yaml", "--progress", "never").exits(0)
    changed("overlapping", lambda: shutil.rmtree(months / "odd"), "overlap", "odd")
    return "one removed, one replaced, one overlapping"


ALL = [
    stock_tools_accept_a_package,
    age_opens_every_encrypted_file,
    pyarrow_reads_encrypted_parquet,
    a_pack_is_checked_as_its_instructions_say,
    a_sample_is_the_same_twice_and_follows_from_its_rule,
    three_formats_have_one_digest_of_rows,
    pseudonyms_are_those_of_openssl,
    no_secret_and_no_redacted_value_is_anywhere,
    twelve_months_show_what_is_missing,
]
