#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long a checkpoint takes until its weights can be used: our program against torch.load(mmap=True) and
load_state_dict, in turn, each in a process of its own, files in the page cache.

    time_loading.py --program BUILD/finediffusion CHECKPOINT.pt [--key ema] [--model XL/2] [--rounds 3]

Ours is what 'sample --verbose' says it took to check, pack and place the weights, in memory that is new to the
process. PyTorch's time begins after its import; "copied" and "assigned" leave out the making of the model (whose
memory "copied" fills a second time), "made and" has it; "touched" adds a read of every weight, since assigning
from a mapped file reads nothing."""
import argparse
import os
import re
import subprocess
import sys
import tempfile

PEER = """
import sys, time, torch
sys.path.insert(0, sys.argv[1])
from torch_dit import DiT
path, key, name, rows, assign = sys.argv[2:7]
torch.set_num_threads(2)
begin = time.perf_counter()
with torch.device("meta" if assign == "1" else "cpu"):
    model = DiT(name, int(rows), affine=bool(key))
start = time.perf_counter()
state = torch.load(path, mmap=True, weights_only=not key)
model.load_state_dict(state[key] if key else state, assign=assign == "1")
middle = time.perf_counter()
total = sum(p.sum().item() for p in model.parameters())
print(middle - start, time.perf_counter() - start, middle - begin)
"""


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("checkpoint")
    p.add_argument("--program", default="./finediffusion")
    p.add_argument("--key", default="")
    p.add_argument("--model", default="XL/2")
    p.add_argument("--rows", type=int, default=1001)
    p.add_argument("--rounds", type=int, default=3)
    a = p.parse_args()
    here = os.path.dirname(os.path.abspath(__file__))
    best = {}

    def note(name, seconds):
        best[name] = min(best.get(name, seconds), seconds)
        print(f"  {name:36} {seconds:6.2f} s", flush=True)

    for _ in range(a.rounds):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([a.program, "sample", "--base", a.checkpoint, "--guide", "none", "--classes", "#0",
                                   "--sampler", "dpm++", "--steps", "1", "--device", "cpu", "--verbose",
                                   "--latents", os.path.join(folder, "x")],
                                  stderr=subprocess.PIPE, check=True, text=True).stderr
        note("ours: loaded and packed", float(re.search(r"weights loaded in ([0-9.]+) s", done).group(1)))
        for assign, what in (("0", "copied"), ("1", "assigned")):
            out = subprocess.run([sys.executable, "-c", PEER, here, a.checkpoint, a.key, a.model, str(a.rows),
                                  assign], stdout=subprocess.PIPE, check=True, text=True).stdout.split()
            note(f"PyTorch, {what}", float(out[0]))
            note(f"PyTorch, {what} and touched", float(out[1]))
            note(f"PyTorch, made and {what}", float(out[2]))
    print("best:")
    for name, seconds in best.items():
        print(f"  {name:36} {seconds:6.2f} s")


if __name__ == "__main__":
    main()
