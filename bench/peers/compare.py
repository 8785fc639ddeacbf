#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""finediffusion and PyTorch, OpenVINO or tinygrad on the same problem, in turn, so that both see the same machine.

    compare.py --program BUILD/finediffusion 'train DiT-S/2 b4' 'sample DiT-S/2 b4' --rounds 5
    compare.py --program BUILD/finediffusion --peer eager --peer compile --peer eager-bf16 --json results
    DEV=CL compare.py --program BUILD/finediffusion --device opencl --peer tinygrad 'train DiT-S/2 b2'

Each round starts every program once for a problem, in an order that turns from round to round. The last
column is the peer's time over ours: above 1 we are faster. Both get the same number of threads; settings
of OpenBLAS, MKL and OpenMP are taken out of the environment. Peers run with the Python of this script
(what is compared with has to be installed for it)."""
import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

PEERS = {"eager": ["torch_dit.py"], "compile": ["torch_dit.py", "--compile"],
         "eager-bf16": ["torch_dit.py", "--autocast", "bf16"],
         "compile-bf16": ["torch_dit.py", "--compile", "--autocast", "bf16"],
         "openvino": ["openvino_dit.py"], "openvino-bf16": ["openvino_dit.py", "--precision", "bf16"],
         "tinygrad": ["tinygrad_dit.py"]}
REMOVED = ("OPENBLAS_", "MKL_", "OMP_", "KMP_", "GOTO_", "BLIS_", "DNNL_", "ONEDNN_", "GOMP_")


def clean_environment():
    return {k: v for k, v in os.environ.items() if not k.startswith(REMOVED)}


def run(command):
    done = subprocess.run(command, env=clean_environment(), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise SystemExit(f"compare.py: exit {done.returncode}: {' '.join(map(str, command))}")
    return json.loads(done.stdout)[0]


def command_of(name, problem, args):
    common = [problem, "--threads", str(args.threads), "--json"]
    if args.repetitions:
        common += ["--repetitions", str(args.repetitions)]
    if name == "finediffusion":
        return [args.program, "bench", *common, "--device", args.device, "--quiet",
                "--precision", args.precision]
    script, *own = PEERS[name]
    return [sys.executable, pathlib.Path(__file__).with_name(script), *common, *own]


def merge(results):
    """One result of all rounds: the best minimum, the median of medians, the worst maximum."""
    best = min(results, key=lambda r: r["seconds_min"])
    return {**best, "seconds_median": statistics.median(r["seconds_median"] for r in results),
            "seconds_max": max(r["seconds_max"] for r in results),
            "repetitions": sum(r["repetitions"] for r in results)}


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            return next(line.split(":")[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def show(problem, merged):
    ours = merged["finediffusion"]
    print(f"\n{problem}")
    print(f"  {'':16} {'min ms':>10} {'median ms':>10} {'GFLOP/s':>9} {'MB':>7} {'min':>6} {'median':>7}")
    for name, r in merged.items():
        print(f"  {name:16} {1e3 * r['seconds_min']:10.1f} {1e3 * r['seconds_median']:10.1f} "
              f"{r['gflops']:9.1f} {1e-6 * r['peak_memory_bytes']:7.0f} "
              f"{r['seconds_min'] / ours['seconds_min']:6.2f} "
              f"{r['seconds_median'] / ours['seconds_median']:7.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("problems", nargs="*", metavar="PROBLEM",
                        default=["train DiT-S/2 b4", "sample DiT-S/2 b4"])
    parser.add_argument("--program", default="./finediffusion", help="default ./finediffusion")
    parser.add_argument("--device", default="cpu", help="ours (default cpu)")
    parser.add_argument("--peer", action="append", choices=list(PEERS), help="default eager and compile")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32", help="of finediffusion")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repetitions", type=int, default=0, help="default: each program's own rule")
    parser.add_argument("--json", metavar="FOLDER",
                        help="also NAME.json for each program, for finediffusion bench --compare")
    args = parser.parse_args()
    names = ["finediffusion", *(args.peer or ["eager", "compile"])]
    print(f"{processor()}, {args.threads} threads, {args.rounds} rounds")
    files = {name: [] for name in names}
    for problem in args.problems:
        results = {name: [] for name in names}
        for turn in range(args.rounds):
            for i in range(len(names)):
                name = names[(i + turn) % len(names)]
                results[name].append(run(command_of(name, problem, args)))
                print(f"  round {turn + 1}: {name} {1e3 * results[name][-1]['seconds_min']:.1f} ms",
                      file=sys.stderr, flush=True)
        merged = {name: merge(results[name]) for name in names}
        for name in names:
            files[name].append(merged[name])
        show(problem, merged)
    print("\nmin, median: the peer's time over ours")
    for name in names:
        r = files[name][-1]
        print(f"{name}: {r['device']}, {r['driver']}, version {r['version']}"
              + (f", commit {r['commit']}" if "commit" in r else ""))
    print(datetime.date.today().isoformat())
    if args.json:
        folder = pathlib.Path(args.json)
        folder.mkdir(parents=True, exist_ok=True)
        for name, results in files.items():
            (folder / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
