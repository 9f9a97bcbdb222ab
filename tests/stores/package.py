"""Packages, here and in stores, read without the program."""

import hashlib
import json
import re

from program import Failed

# `part-0000.<run>.csv.zst` in a store is `part-0000.csv.zst` in a folder.
RUN = re.compile(r"^(.*/part-\d+)\..+?(\.(?:csv|ndjson|json|parquet)(?:\.\w+)?)$")

# Everything that a finished package may hold.
PLACES = re.compile(r"^(manifest\.json|SHA256SUMS|report\.html|data/.+|rejects/.+|_state/(plan\.json|(log|manifests|partitions|plans|tasks)/.+))$")


def local_shards(root):
    """Names and bytes of the shards of a package on this machine."""
    files = (path for path in (root / "data").rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def stored_shards(store, prefix):
    """Names, as a folder has them, and bytes of the shards of a finished package in a store.

    Fails where an object is listed and not there, or there and not listed, or has another digest than listed.
    """
    names = [key[len(prefix) + 1 :] for key in store.keys(prefix + "/")]
    odd = [name for name in names if not PLACES.match(name)]
    if odd:
        raise Failed(f"objects that do not belong into {store.name}:{prefix}: {odd}")
    if "manifest.json" not in names or "SHA256SUMS" not in names:
        raise Failed(f"no manifest or no SHA256SUMS in {store.name}:{prefix}: {names}")
    manifest = json.loads(store.get(f"{prefix}/manifest.json"))
    if manifest["status"] != "complete":
        raise Failed(f"{store.name}:{prefix} is {manifest['status']}: {json.dumps(manifest, indent=1)}")
    listed = {file["path"]: file for file in manifest["files"]}
    there = [name for name in names if name.startswith(("data/", "rejects/"))]
    if sorted(listed) != there:
        raise Failed(f"listed {sorted(listed)}\nthere {there}\nin {store.name}:{prefix}")
    sums = dict(reversed(line.split("  ", 1)) for line in store.get(f"{prefix}/SHA256SUMS").decode().splitlines())
    shards = {}
    for name in [*there, "manifest.json"]:
        data = store.get(f"{prefix}/{name}")
        digest = hashlib.sha256(data).hexdigest()
        if sums.pop(name, None) != digest or listed.get(name, {"sha256": digest})["sha256"] != digest:
            raise Failed(f"{store.name}:{prefix}/{name} has the digest {digest}, which is not the listed one")
        if name != "manifest.json":
            shards[plain(name)] = data
    if sums:
        raise Failed(f"SHA256SUMS of {store.name}:{prefix} lists what is not there: {sorted(sums)}")
    return shards


def plain(name):
    found = RUN.match(name)
    if not found:
        raise Failed(f"the shard's name has no run in it: {name}")
    return found.group(1) + found.group(2)


def equal(shards, golden):
    """Fails where two packages differ in a name or a byte."""
    if sorted(shards) != sorted(golden):
        raise Failed(f"shards {sorted(shards)}\nnot {sorted(golden)}")
    other = [name for name in golden if shards[name] != golden[name]]
    if other:
        raise Failed(f"other bytes than the local package: {other}")
