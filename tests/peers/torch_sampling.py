# SPDX-License-Identifier: Apache-2.0
"""The published sampling procedure in plain PyTorch, written from the formulas in doc/DESIGN.md: respaced
ancestral steps with learned variance, DDIM, guidance of the first three channels. And our program on the same
classes, seeds and random numbers (--rng torch-cpu)."""
import os
import subprocess
import tempfile

import numpy as np
import torch

T = 1000


def respaced(steps):
    """The kept times, and abar at them: float64, positions rounded half to even."""
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, T))
    times = [round(i * (T - 1) / (steps - 1)) for i in range(steps)]
    return times, abar[times]


def guided(model, x, t, row, guide_row, w):
    """eps and v of the class, eps guided in the first three channels; the batch is both branches."""
    rows = torch.tensor([row, guide_row])
    out = model(torch.cat([x, x]), torch.full((2,), t), rows)
    eps, v = out.chunk(2, 1)
    mixed = eps[:1].clone()
    mixed[:, :3] = eps[1:, :3] + w * (eps[:1, :3] - eps[1:, :3])
    return mixed, v[:1]


def coefficients(steps):
    """Per index: numbers of the posterior, from beta_i = 1 - abar_i / abar_(i-1)."""
    times, abar = respaced(steps)
    before = np.append(1.0, abar[:-1])
    beta = 1 - abar / before
    variance = beta * (1 - before) / (1 - abar)
    log_var = np.log(np.append(variance[1], variance[1:]))
    return {"t": times, "log_beta": np.log(beta), "log_var": log_var,
            "x0_x": np.sqrt(1 / abar), "x0_eps": np.sqrt(1 / abar - 1),
            "c_x0": beta * np.sqrt(before) / (1 - abar), "c_xt": (1 - before) * np.sqrt(1 - beta) / (1 - abar),
            "abar_before": before}


@torch.no_grad()
def sample(model, seed, row, guide_row, w=4.0, steps=250, sampler="ddpm", size=32):
    """One picture as the published program draws it: the noise of both halves is drawn at every step."""
    torch.manual_seed(seed)
    x = torch.randn(1, model.channels, size, size)
    c = coefficients(steps)
    for i in reversed(range(steps)):
        eps, v = guided(model, x, c["t"][i], row, guide_row, w)
        z = torch.randn(2, model.channels, size, size)[:1]
        x0 = float(c["x0_x"][i]) * x - float(c["x0_eps"][i]) * eps
        if sampler == "ddim":
            b = float(c["abar_before"][i])
            x = b ** 0.5 * x0 + (1 - b) ** 0.5 * eps
            continue
        f = (v + 1) / 2
        log_var = f * float(c["log_beta"][i]) + (1 - f) * float(c["log_var"][i])
        x = float(c["c_x0"][i]) * x0 + float(c["c_xt"][i]) * x
        if i:
            x = x + torch.exp(log_var / 2) * z
    return x


def read_latents(path):
    """Tensor x of a safetensors file that --latents wrote."""
    import json
    with open(path, "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
        at = header["x"]["data_offsets"]
        data = f.read()[at[0]:at[1]]
    return torch.from_numpy(np.frombuffer(data, "<f4").copy()).reshape(header["x"]["shape"])


def ours(program, options, classes, seed, steps, sampler, w=4.0):
    """Our latents of one picture of each class, in the order of the classes."""
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "latents.safetensors")
        subprocess.run([program, "sample", *options, "--classes", ",".join(f"#{c}" for c in classes),
                        "--seed", str(seed), "--sampler", sampler, "--steps", str(steps),
                        "--guidance", str(w), "--rng", "torch-cpu", "--latents", out, "--quiet"], check=True)
        return read_latents(out)


def difference(a, b):
    """NMSE, and the largest difference over the largest value."""
    a, b = a.double(), b.double()
    return (((a - b) ** 2).sum() / (b ** 2).sum()).item(), ((a - b).abs().max() / b.abs().max()).item()


def taxonomy(path, classes, groups):
    """A TSV of CLASSES classes dealt out to GROUPS groups; returns the table row of each class's group."""
    with open(path, "w", encoding="utf-8") as f:
        f.write("class\tgroup\n")
        for c in range(classes):
            f.write(f"class{c:05d}\tgroup{c % groups:02d}\n")
    return [classes + c % groups for c in range(classes)]
