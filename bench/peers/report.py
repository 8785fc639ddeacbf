# SPDX-License-Identifier: Apache-2.0
"""What the peers' scripts share: options, timing, and results as `finediffusion bench` has them."""
import argparse
import json
import resource
import statistics
import sys
import time


def options(doc, example, threads):
    """A parser with what every script takes; `threads` is the help of --threads."""
    parser = argparse.ArgumentParser(description=doc.split("\n", maxsplit=1)[0])
    parser.add_argument("problems", nargs="+", metavar="PROBLEM", help=f"{example}, ...")
    parser.add_argument("--threads", type=int, help=threads)
    parser.add_argument("--repetitions", type=int, default=0,
                        help="default: until 3 and a second, at most 20")
    parser.add_argument("--json", action="store_true")
    return parser


def time_steps(step, repetitions):
    """Seconds of each; 0 repetitions: until 3 and a second, at most 20."""
    seconds = []
    while len(seconds) < repetitions if repetitions else \
            len(seconds) < 3 or (sum(seconds) < 1 and len(seconds) < 20):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    return seconds


def peak_memory():
    """The most resident memory of this process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def result(p, step, args, memory=peak_memory, **facts):
    """Times a warm step of problem p. facts: device, driver, precision, weights, threads, warmup_seconds, version."""
    seconds = time_steps(step, args.repetitions)
    best = min(seconds)
    return {"problem": p.text, "batch": p.batch, "seconds_min": best,
            "seconds_median": statistics.median(seconds), "seconds_max": max(seconds),
            "repetitions": len(seconds), "seconds_per_image": best / p.batch,
            "gflops": 1e-9 * p.flops() / best, "flops": float(p.flops()),
            "peak_memory_bytes": memory(), **facts}


def show(results, as_json):
    if as_json:
        json.dump(results, sys.stdout, indent=1)
        print()
        return
    for r in results:
        print(f"{r['problem']:36} {1e3 * r['seconds_min']:9.1f} ms  median "
              f"{1e3 * r['seconds_median']:9.1f} ms  {r['gflops']:8.1f} GFLOP/s")
