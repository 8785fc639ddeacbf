#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""sample --rng torch-cpu against PyTorch doing the published sampling procedure: 250 ancestral steps with
learned variance, guided by the superclass, from the same random weights and seeds.

    compare_sampling.py --program BUILD/finediffusion [--model S/2] [--classes 3,150,299] [--steps 250]

Exit 1 when a picture is further from PyTorch's than --limit (largest difference over largest value)."""
import argparse
import os
import tempfile
import time

import torch
from torch_dit import DiT, randomise
from torch_sampling import difference, ours, sample, taxonomy


@torch.no_grad()
def see_noise(model):
    """Turns random weights into a crude denoiser: the head gives back the patches that went in, with a gain that
    makes eps as large as x for pure noise. With weights that know nothing of x, eps is never what is in x, and
    x grows to hundreds in the chain."""
    c, p = model.channels, model.patch
    back = torch.linalg.pinv(model.x_embedder.proj.weight.flatten(1))  # [(channel, py, px), width]
    head = model.final_layer.linear.weight.view(p, p, 2 * c, -1)
    own = head[:, :, :c].clone()
    head[:, :, :c] = 0.1 * own + back.view(c, p, p, -1).permute(1, 2, 0, 3)
    x = torch.randn(4, c, p * model.grid, p * model.grid, generator=torch.Generator().manual_seed(1))
    eps = model(x, torch.full((4,), 999), torch.arange(4))[:, :c]
    head[:, :, :c] *= (x * x).sum() / (eps * x).sum()
    return model


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--program", default="./finediffusion")
    p.add_argument("--model", default="S/2")
    p.add_argument("--input", type=int, default=32)
    p.add_argument("--classes", default="3,150,299")
    p.add_argument("--seed", type=int, default=11)
    p.add_argument("--steps", type=int, default=250)
    p.add_argument("--guidance", type=float, default=4.0)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--limit", type=float, default=1e-3)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    classes = [int(c) for c in a.classes.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        base, table = os.path.join(folder, "model.pt"), os.path.join(folder, "taxonomy.tsv")
        groups = taxonomy(table, 306, 11)
        model = see_noise(randomise(DiT(a.model, 317, a.input), 5).eval())
        torch.save(model.state_dict(), base)
        start = time.perf_counter()
        options = ["--base", base, "--taxonomy", table, "--device", "cpu", "--threads", str(a.threads)]
        if "," in a.model:
            options += ["--model", a.model]
        got = ours(a.program, options, classes, a.seed, a.steps, "ddpm", a.guidance)
        middle = time.perf_counter()
        wanted = torch.cat([sample(model, a.seed, c, groups[c], a.guidance, a.steps, size=a.input)
                            for c in classes])
    print(f"DiT-{a.model}, {a.steps} steps, guidance {a.guidance:g}: ours {middle - start:.0f} s, "
          f"PyTorch {time.perf_counter() - middle:.0f} s")
    worst = 0
    for k, c in enumerate(classes):
        nmse, largest = difference(got[k], wanted[k])
        worst = max(worst, largest)
        print(f"  class {c:4d}: NMSE {nmse:.2e}, largest difference {largest:.2e} of the largest value "
              f"{wanted[k].abs().max():.3g}, rms {wanted[k].pow(2).mean().sqrt():.3g}")
    raise SystemExit(worst > a.limit)


if __name__ == "__main__":
    main()
