#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pictures per second: our training loader and PyTorch's DataLoader with Pillow on the same files with the
same transform (halve with a box filter, bicubic, centre crop, mirror, to [-1, 1]), in turn.

    make -C build bench/loader
    loader.py --loader build/bench/loader DATA --size 256 --batch 32 --workers 2 --rounds 5

DATA is a folder with a sub-folder per class. Both read every picture once before the clock runs, so the
files are in memory. Each round runs both on all pictures; the table has the best round of each, and the
processor time of all threads or processes per picture, which other programs disturb less."""
import argparse
import json
import os
import pathlib
import platform
import resource
import subprocess
import time

import numpy
import PIL
import torch
from PIL import Image


def square(picture, size):
    while min(picture.size) >= 2 * size:
        picture = picture.resize(tuple(x // 2 for x in picture.size), resample=Image.Resampling.BOX)
    scale = size / min(picture.size)
    picture = picture.resize(tuple(round(x * scale) for x in picture.size),
                             resample=Image.Resampling.BICUBIC)
    x, y = (picture.size[0] - size) // 2, (picture.size[1] - size) // 2
    return picture.crop((x, y, x + size, y + size))


class Pictures(torch.utils.data.Dataset):
    def __init__(self, folder, size):
        self.size = size
        self.files = sorted(p for p in pathlib.Path(folder).glob("*/*") if p.is_file())
        names = sorted({p.parent.name for p in self.files})
        self.labels = [names.index(p.parent.name) for p in self.files]

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        with Image.open(self.files[i]) as picture:
            pixels = square(picture.convert("RGB"), self.size)
        x = torch.from_numpy(numpy.array(pixels)).permute(2, 0, 1).contiguous().float().div_(255)
        if torch.rand(()) < 0.5:
            x = x.flip(-1)
        return x.sub_(0.5).div_(0.5), self.labels[i]


def processor_seconds():
    return sum(u.ru_utime + u.ru_stime for u in (resource.getrusage(resource.RUSAGE_SELF),
                                                 resource.getrusage(resource.RUSAGE_CHILDREN)))


def theirs(args):
    torch.set_num_threads(1)  # in the workers, as PyTorch itself does
    data = Pictures(args.data, args.size)
    before = processor_seconds()
    start = time.perf_counter()
    loader = torch.utils.data.DataLoader(data, batch_size=args.batch, shuffle=True, drop_last=True,
                                         num_workers=args.workers)
    n, total = 0, 0.0
    for x, _ in loader:
        n += len(x)
        total += float(x.flatten()[::64].double().sum())
    seconds = time.perf_counter() - start
    del loader
    return {"seconds": seconds, "processor_seconds": processor_seconds() - before, "pictures": n,
            "mean": total / (n * 3 * args.size ** 2 / 64)}


def ours(args, n):
    command = [args.loader, args.data, args.size, args.batch, args.workers, n]
    return json.loads(subprocess.run([str(x) for x in command], check=True,
                                     stdout=subprocess.PIPE).stdout)


def processor():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        return next((line.split(":")[1].strip() for line in f if line.startswith("model name")),
                    platform.machine())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data")
    parser.add_argument("--loader", required=True, help="bench/loader of the build folder")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    results = {"finediffusion": [], "PyTorch": []}
    n = theirs(args)["pictures"]
    ours(args, n)
    for turn in range(args.rounds):
        order = [("finediffusion", lambda: ours(args, n)), ("PyTorch", lambda: theirs(args))]
        for name, run in order if turn % 2 else order[::-1]:
            results[name].append(run())
    means = [r["mean"] for side in results.values() for r in side]
    if max(means) - min(means) > 0.003:
        raise SystemExit(f"loader.py: the two do not load the same pictures: means {means}")
    print(f"{n} pictures to {args.size} x {args.size}, batch {args.batch}, {args.workers} workers, best of "
          f"{args.rounds} rounds\n{processor()}, {os.cpu_count()} threads; PyTorch {torch.__version__}, "
          f"Pillow {PIL.__version__}, {time.strftime('%Y-%m-%d')}\n")
    print("| loader | pictures/s | processor ms/picture |\n|---|---|---|")
    for name, side in results.items():
        print(f"| {name} | {max(r['pictures'] / r['seconds'] for r in side):.0f} | "
              f"{1000 * min(r['processor_seconds'] / r['pictures'] for r in side):.2f} |")


main()
