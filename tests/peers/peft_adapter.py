#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adapters in both directions between the program and the Python library PEFT: pictures of the same base and
adapter, drawn by both from the same noise.

    peft_adapter.py --program BUILD/finediffusion [--model 96,3,4,4] [--steps 4]

Ours to theirs: train --tune lora:4, rslora:4:8 and finediffusion+lora:4, convert --names peft,
PeftModel.from_pretrained. Theirs to ours: save_pretrained of an adapter with random numbers, convert --delta.
Exit 1 when a picture is further from PyTorch's than --limit (largest difference over largest value). Needs
torch, peft, numpy and safetensors."""
import argparse
import json
import pathlib
import subprocess
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch_dit import DiT, randomise
from torch_sampling import difference, read_latents, sample

SIZE, SEED, CLASSES = 24, 11, (0, 7)
TARGETS = ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]
LETTERS = pathlib.Path(__file__).parents[2] / "data" / "letters-test.tar.gz"


def run(program, *words):
    subprocess.run([program, *map(str, words), "--quiet"], check=True)


def rows_of(folder):
    """Rows of the class table of an adapter_model.safetensors."""
    with open(folder / "adapter_model.safetensors", "rb") as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), "little")))
    return header["base_model.model.y_embedder.embedding_table.weight"]["shape"][0]


def base_model(a, rows, base):
    """The network with the base's numbers, and a class table of `rows` rows that the adapter will fill."""
    model = DiT(a.model, rows, SIZE, channels=1).eval()
    state = {k: v for k, v in torch.load(base).items() if rows == a.rows or "embedding_table" not in k}
    model.load_state_dict(state, strict=False)
    return model


def compare(a, what, base, delta, model):
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "x.safetensors"
        run(a.program, "sample", "--base", base, "--model", a.model, "--delta", delta, "--device", "cpu",
            "--classes", ",".join(f"#{c}" for c in CLASSES), "--seed", SEED, "--sampler", "ddim",
            "--steps", a.steps, "--guide", "none", "--no-clip-x0", "--rng", "torch-cpu", "--latents", out)
        got = read_latents(out)
    wanted = torch.cat([sample(model, SEED, c, c, 1.0, a.steps, "ddim", SIZE) for c in CLASSES])
    with model.disable_adapter():
        off = torch.cat([sample(model, SEED, c, c, 1.0, a.steps, "ddim", SIZE) for c in CLASSES])
    nmse, largest = difference(got, wanted)
    without = difference(off, wanted)[1]
    print(f"{what:32s} NMSE {nmse:.2e}, largest difference {largest:.2e} of the largest value "
          f"({without:.2e} without the adapter)")
    return largest if without > 100 * a.limit else float("inf")


def ours_to_theirs(a, folder, base):
    worst = 0
    for tune in ("lora:4", "rslora:4:8", "finediffusion+lora:4"):
        at = folder / tune
        run(a.program, "train", "--base", base, "--model", a.model, "--data", LETTERS, "--tune", tune,
            "--lr", "1e-2", "--batch", 8, "--steps", 4, "--ema", 0, "--preview-every", 0, "--device", "cpu",
            "--out", at)
        run(a.program, "convert", at / "delta.safetensors", at / "peft", "--names", "peft")
        model = PeftModel.from_pretrained(base_model(a, rows_of(at / "peft"), base), at / "peft").eval()
        worst = max(worst, compare(a, f"ours to PEFT, {tune}", base, at / "delta.safetensors", model))
    return worst


def theirs_to_ours(a, folder, base):
    worst = 0
    saved = ["embedding_table", "norm1", "norm2", "norm_final"]
    ways = {"lora": {}, "rslora": {"use_rslora": True}, "bias and norm": {"bias": "all", "modules_to_save": saved}}
    for what, more in ways.items():
        torch.manual_seed(3)
        more.setdefault("modules_to_save", ["embedding_table"])
        config = LoraConfig(r=4, lora_alpha=6, target_modules=TARGETS, **more)
        model = get_peft_model(base_model(a, a.rows, base), config).eval()
        with torch.no_grad():
            for name, p in model.named_parameters():
                if p.requires_grad:
                    p += 0.1 * torch.randn(p.shape)
        at = folder / f"theirs-{what}"
        model.save_pretrained(at)
        delta = folder / f"theirs-{what}.safetensors"
        run(a.program, "convert", at, delta, "--delta", "--base", base, "--model", a.model)
        worst = max(worst, compare(a, f"PEFT to ours, {what}", base, delta, model))
    return worst


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--program", default="build/finediffusion")
    p.add_argument("--model", default="96,3,4,4")
    p.add_argument("--rows", type=int, default=20)
    p.add_argument("--steps", type=int, default=4)
    p.add_argument("--limit", type=float, default=1e-4)
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        base = folder / "base.pt"
        torch.save(randomise(DiT(a.model, a.rows, SIZE, channels=1), 5).state_dict(), base)
        worst = max(ours_to_theirs(a, folder, base), theirs_to_ours(a, folder, base))
    raise SystemExit(worst > a.limit)


if __name__ == "__main__":
    main()
