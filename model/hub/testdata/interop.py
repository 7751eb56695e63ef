"""What huggingface_hub makes of the cache in HF_HUB_CACHE, as JSON: interop.py read|write|hold REPO [LOCK].

read   files by hf_hub_download and snapshot_download without a network, and what scan_cache_dir says
write  snapshot_download from HF_ENDPOINT
hold   hold the lock LOCK as a download does, until standard input ends
"""

import hashlib
import json
import os
import sys

import huggingface_hub as hub


def read(repo):
    out = {"version": hub.__version__, "files": {}}
    folder = hub.snapshot_download(repo, local_files_only=True)
    for root, _, names in os.walk(folder):
        for name in names:
            path = os.path.relpath(os.path.join(root, name), folder)
            got = hub.hf_hub_download(repo, path.replace(os.sep, "/"), local_files_only=True)
            with open(got, "rb") as f:
                out["files"][path.replace(os.sep, "/")] = hashlib.sha256(f.read()).hexdigest()
    info = hub.scan_cache_dir()
    out["warnings"] = [str(w) for w in info.warnings]
    out["repos"] = {
        f"{r.repo_type} {r.repo_id}": {
            "size": r.size_on_disk,
            "revisions": {v.commit_hash: sorted(v.refs) for v in r.revisions},
        }
        for r in info.repos
    }
    return out


def hold(_, lock):
    from huggingface_hub.utils import WeakFileLock

    with WeakFileLock(lock):
        print(json.dumps({"held": lock}), flush=True)
        sys.stdin.read()


def write(repo):
    return {"folder": hub.snapshot_download(repo)}


result = globals()[sys.argv[1]](*sys.argv[2:])
if result is not None:
    print(json.dumps(result))
