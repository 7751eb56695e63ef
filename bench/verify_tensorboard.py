"""Does the real TensorBoard read a run's events as metrics.jsonl has them?

    python bench/verify_tensorboard.py RUN

Scalars must be metrics.jsonl's numbers rounded to float32, exactly, step by step, also where a run was resumed; the histograms of
rewards must count and add up to episodes.jsonl's, and an episode must be there to read. Needs tensorboard; run it in an environment
of its own. Exit 1 where they disagree.
"""
import collections
import json
import math
import pathlib
import sys

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def check(run):
    everything = {"scalars": 0, "histograms": 0, "tensors": 0}
    events = EventAccumulator(str(run), size_guidance=everything).Reload()
    want = collections.defaultdict(list)
    for line in open(run / "metrics.jsonl"):
        row = json.loads(line)
        step = row.pop("step")
        for name, value in row.items():
            want[name].append((step, value))
    if set(events.Tags()["scalars"]) != set(want):
        return f"names differ: {set(events.Tags()['scalars']) ^ set(want)}", {}
    values = 0
    for name, rows in want.items():
        got = [(e.step, e.value) for e in events.Scalars(name)]
        if [s for s, _ in got] != [s for s, _ in rows]:
            return f"{name}: steps {[s for s, _ in got][:20]}, metrics.jsonl has {[s for s, _ in rows][:20]}", {}
        for (step, g), (_, w) in zip(got, rows):
            values += 1
            if not (not math.isfinite(g) if w is None else np.float32(g) == np.float32(w)):
                return f"{name}, step {step}: {g}, metrics.jsonl has {w}", {}
    summary = {"scalars": len(want), "values": values, "histograms": 0, "texts": 0}
    if not (run / "episodes.jsonl").exists():
        return None, summary
    rewards = collections.defaultdict(list)
    for line in open(run / "episodes.jsonl"):
        e = json.loads(line)
        rewards[e["step"]].append(e["reward"])
    got = {e.step: e.histogram_value for e in events.Histograms("critic/score")}
    if set(got) != set(rewards):
        return f"histograms of steps {sorted(got)}, episodes of {sorted(rewards)}", summary
    for step, r in rewards.items():
        h = got[step]
        if h.num != len(r) or sum(h.bucket) != len(r) or not math.isclose(h.sum, sum(r), abs_tol=1e-9) or h.max != max(r):
            return f"histogram of rewards, step {step}: {h.num} values that add up to {h.sum}, not {len(r)} and {sum(r)}", summary
    summary["histograms"] = len(events.Tags()["histograms"])
    for name in events.Tags()["tensors"]:
        for e in events.Tensors(name):
            summary["texts"] += len(e.tensor_proto.string_val) > 0 and b"reward" in e.tensor_proto.string_val[0]
    return (None if summary["texts"] else "no episode to read"), summary


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    wrong, summary = check(pathlib.Path(sys.argv[1]))
    print(json.dumps({"run": sys.argv[1], **summary, "ok": not wrong, "wrong": wrong}))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
