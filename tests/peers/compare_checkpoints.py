#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of every public layout, with random weights, through our program and through PyTorch: a few
guided DDIM steps from the same noise. Then the size of a delta, and the memory that loading takes.

    compare_checkpoints.py --program BUILD/finediffusion [--model XL/2] [--dir FOLDER]

--dir keeps the files of make_checkpoints.py (S/2: 0.7 GB, XL/2: 14 GB) and takes those that are there.
With diffusers installed, its own DiTTransformer2DModel reads the folder of diffusers as well: once with the
frequencies of the public DiT, once as it is, which is shown and not judged.
Exit 1 when something is further away than --limit (NMSE)."""
import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time

import torch
from torch_dit import DiT
from torch_sampling import difference, ours, sample, taxonomy

HERE = os.path.dirname(os.path.abspath(__file__))
ROWS, GROUPS, STOCK_ROWS = 317, 11, 1001


class Diffusers(torch.nn.Module):
    """diffusers' model with the arguments of ours. Of itself it divides the exponents of the timestep's
    frequencies by 127, the public DiT by 128: as_public puts that right."""
    def __init__(self, folder, as_public):
        super().__init__()
        from diffusers import DiTTransformer2DModel
        self.inner = DiTTransformer2DModel.from_pretrained(folder, low_cpu_mem_usage=False)
        for block in self.inner.transformer_blocks if as_public else ():
            block.norm1.emb.time_proj.downscale_freq_shift = 0
        self.channels = self.inner.config.in_channels

    def forward(self, x, t, row):
        return self.inner(x, timestep=t, class_labels=row).sample


def load(a, rows, affine, file, key=None):
    model = DiT(a.model, rows, a.input, affine=affine)
    state = torch.load(os.path.join(a.dir, file), mmap=True, weights_only=key is None)
    model.load_state_dict(state[key] if key else state)
    return model.eval()


def watch(process, peaks):
    """The most of VmHWM and of anonymous memory that a process shows."""
    path = f"/proc/{process.pid}/status"
    while process.poll() is None:
        try:
            with open(path, encoding="ascii") as f:
                for key, value in re.findall(r"(VmHWM|RssAnon):\s+(\d+)", f.read()):
                    peaks[key] = max(peaks.get(key, 0), int(value) / 1e3)
        except OSError:
            pass
        time.sleep(0.005)


def memory(a, options):
    """Peak memory of sampling against the plan, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [a.program, "sample", *options, "--classes", "#3", "--sampler", "ddim", "--steps", "2",
                   "--batch", "1"]
        plan = subprocess.run([*command, "--plan"], stdout=subprocess.PIPE, check=True, text=True).stdout
        peaks = {}
        process = subprocess.Popen([*command, "--latents", os.path.join(folder, "x"), "--quiet"])
        thread = threading.Thread(target=watch, args=(process, peaks))
        thread.start()
        if process.wait():
            raise SystemExit("sample failed")
        thread.join()
    return plan, peaks


def compare_layouts(a, table, groups):
    classes, seed, worst = [3, 150], 7, 0
    device = ["--device", "cpu", "--threads", str(a.threads)]
    if "," in a.model:
        device += ["--model", a.model]
    stock = [(name, ["--base", os.path.join(a.dir, name), "--guide", "empty"])
             for name in ("stock.pt", "legacy.pt", "diffusers", "ours.safetensors")]
    fine = [(name, ["--base", os.path.join(a.dir, name), "--taxonomy", table])
            for name in ("finediffusion.pt", "fine.safetensors")]
    for cases, rows, affine, file, key in ((stock, STOCK_ROWS, False, "stock.pt", None),
                                           (fine, ROWS, True, "finediffusion.pt", "ema")):
        got = {name: ours(a.program, [*o, *device], classes, seed, a.steps, "ddim") for name, o in cases}
        models = {"torch_dit.py": lambda: load(a, rows, affine, file, key)}
        if not key and a.diffusers:
            path = os.path.join(a.dir, "diffusers", "transformer")
            models["diffusers"] = lambda: Diffusers(path, True).eval()
            models["diffusers as it is"] = lambda: Diffusers(path, False).eval()
        for peer, make in models.items():
            model = make()
            wanted = torch.cat([sample(model, seed, c, groups[c] if key else STOCK_ROWS - 1, 4.0, a.steps,
                                       "ddim", a.input) for c in classes])
            del model
            for name, x in got.items():
                nmse, largest = difference(x, wanted)
                if "as it is" not in peer:
                    worst = max(worst, nmse)
                print(f"  {name:18} against {peer:18}: NMSE {nmse:.2e}, largest difference {largest:.2e}")
    return worst


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--program", default="./finediffusion")
    p.add_argument("--model", default="S/2")
    p.add_argument("--input", type=int, default=32)
    p.add_argument("--dir")
    p.add_argument("--steps", type=int, default=2)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--limit", type=float, default=1e-9)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    try:
        import diffusers  # noqa: F401
        a.diffusers = True
    except ImportError:
        a.diffusers = False
        print("diffusers is not installed: its layout is compared with torch_dit.py alone")
    with tempfile.TemporaryDirectory() as folder:
        a.dir = a.dir or folder
        missing = [n for n in ("stock", "legacy", "diffusers", "finediffusion")
                   if not any(os.path.exists(os.path.join(a.dir, n + end)) for end in ("", ".pt"))]
        if missing:
            subprocess.run([sys.executable, os.path.join(HERE, "make_checkpoints.py"), "layouts", a.dir,
                            "--model", a.model, "--input", str(a.input), "--rows", str(ROWS),
                            "--only", ",".join(missing)], check=True)
        table = os.path.join(folder, "taxonomy.tsv")
        groups = taxonomy(table, ROWS - GROUPS, GROUPS)
        size = ["--model", a.model] if "," in a.model else []
        for name, made in (("stock.pt", "ours.safetensors"), ("finediffusion.pt", "fine.safetensors")):
            subprocess.run([a.program, "convert", os.path.join(a.dir, name), os.path.join(a.dir, made), *size,
                            "--quiet"], check=True)
        print(f"DiT-{a.model}, {a.steps} guided DDIM steps:")
        worst = compare_layouts(a, table, groups)
        plan, peaks = memory(a, ["--base", os.path.join(a.dir, "finediffusion.pt"), "--taxonomy", table,
                                 "--device", "cpu", *size])
        print(f"sampling from finediffusion.pt:\n{plan}  measured: "
              f"{', '.join(f'{k} {v:.0f} MB' for k, v in peaks.items())}")
    raise SystemExit(worst > a.limit)


if __name__ == "__main__":
    main()
