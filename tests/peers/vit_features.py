#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Features of vision transformers with random weights, by transformers and by finediffusion.

    vit_features.py --program build/finediffusion [--network NAME]... [--threads N]
    vit_features.py --fixtures tests/fixtures/eval

The first makes networks of full size, writes them as transformers does, has both compute the features of the same
pictures, and fails where they differ by more than 1e-4 of the largest. Pictures have the size that the network takes,
so resizing, which has tests of its own, changes nothing. The second writes small networks and their features in
float64, which tests/test_vit.c compares with.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import save_file
from transformers import (CLIPVisionConfig, CLIPVisionModelWithProjection, Dinov2Config, Dinov2Model,
                          Dinov2WithRegistersConfig, Dinov2WithRegistersModel)

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


def dino(width, depth, heads, image=224, registers=0, **more):
    kind, model = (Dinov2WithRegistersConfig, Dinov2WithRegistersModel) if registers else (Dinov2Config, Dinov2Model)
    if registers:
        more["num_register_tokens"] = registers
    return model, kind(hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, image_size=image,
                       patch_size=14, layer_norm_eps=1e-6, **more), IMAGENET


def clip(width, depth, heads, inner, image, features):
    return CLIPVisionModelWithProjection, CLIPVisionConfig(
        hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads, intermediate_size=inner,
        image_size=image, patch_size=14, projection_dim=features, hidden_act="quick_gelu", layer_norm_eps=1e-5), CLIP


# name: (network, flavour of --features, side of the pictures)
FULL = {
    "dinov2-small": (dino(384, 12, 6), "dinov2", 224),
    "dinov2-small-518": (dino(384, 12, 6, image=518), "dinov2-hf", 256),
    "dinov2-small-registers": (dino(384, 12, 6, image=518, registers=4), "dinov2", 224),
    "dinov2-base": (dino(768, 12, 12), "dinov2", 224),
    "dinov2-large": (dino(1024, 24, 16), "dinov2", 224),
    "dinov2-giant": (dino(1536, 40, 24, use_swiglu_ffn=True), "dinov2", 224),
    "clip-large-336": (clip(1024, 24, 16, 4096, 336, 768), "clip", 336),
}
# name: (network, side of the pictures)
SMALL = {
    "clip_small": (clip(48, 2, 3, 96, 56, 20), 56),
    "dinov2_swiglu_small": (dino(48, 2, 3, image=70, use_swiglu_ffn=True), 70),
    "dinov2_hf_small": (dino(48, 2, 3, image=140), 224),
}


def make(network, seed):
    kind, config, scaling = network
    torch.manual_seed(seed)
    model = kind(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn_like(p)
            if "norm" in name and name.endswith("weight") or "layer_scale" in name or "layrnorm" in name and name.endswith("weight"):
                p.copy_(1 + 0.1 * noise)
            elif p.dim() == 2 and "embedding" not in name:
                p.copy_(noise / p.shape[1] ** 0.5)
            else:
                p.copy_(0.02 * noise)
    return model, scaling


def features(model, scaling, pixels):
    """pixels [N, side, side, 3] bytes -> [N, D]"""
    mean, std = (torch.tensor(v, dtype=torch.float64).to(model.dtype) for v in scaling)
    x = (torch.from_numpy(pixels).to(model.dtype) / 255 - mean) / std
    with torch.no_grad():
        out = model(pixel_values=x.permute(0, 3, 1, 2))
    out = out.image_embeds if hasattr(out, "image_embeds") else out.last_hidden_state[:, 0]
    return out.numpy()


def write(model, folder):
    """As transformers writes it, with the names that files have; of the config what fixtures need."""
    model.save_pretrained(folder)
    with open(os.path.join(folder, "config.json")) as f:
        config = {k: v for k, v in json.load(f).items()
                  if k in ("hidden_size", "num_attention_heads", "hidden_act", "layer_norm_eps")}
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f)
        f.write("\n")


def fixtures(out):
    picture = np.array(Image.open(os.path.join(out, "pic_320x310.png")).convert("RGB"))
    expected = {}
    for seed, (name, (network, side)) in enumerate(SMALL.items()):
        model, scaling = make(network, seed)
        write(model, os.path.join(out, name))
        corners = np.stack([picture[:side, :side], picture[-side:, -side:]])
        expected[name] = torch.from_numpy(features(model.double(), scaling, corners)).float()
    save_file(expected, os.path.join(out, "vit.safetensors"))


def compare(program, name, threads):
    network, flavour, side = FULL[name]
    rng = np.random.default_rng(7)
    model, scaling = make(network, 1)
    with tempfile.TemporaryDirectory() as work:
        pixels = []
        os.makedirs(os.path.join(work, "pictures", "a"))
        for k in range(3):  # something smooth, and noise on it
            coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize((side, side), Image.BICUBIC)
            p = np.clip(np.array(coarse).astype(int) + rng.integers(-20, 21, (side, side, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(p).save(os.path.join(work, "pictures", "a", f"{k}.png"))
            cut = 16 if flavour == "dinov2-hf" else 0
            pixels.append(p[cut:side - cut, cut:side - cut])
        write(model, os.path.join(work, "weights"))
        torch.set_num_threads(threads)
        begin = time.time()
        want = features(model, scaling, np.stack(pixels))
        torch_seconds = time.time() - begin
        kept = os.path.join(work, "features.safetensors")
        begin = time.time()
        subprocess.run([program, "eval", os.path.join(work, "pictures"), "--features", f"{flavour}:{work}/weights",
                        "--metrics", "none", "--features-out", kept, "--quiet", "--threads", str(threads)], check=True)
        seconds = time.time() - begin
        got = load_file(kept)["features"]
    error = np.abs(got - want).max() / np.abs(want).max()
    apart = np.abs(want[0] - want[1]).max() / np.abs(want).max()
    print(f"{name}: largest difference {error:.2e} of the largest feature, pictures {apart:.2g} apart "
          f"(torch {torch_seconds:.1f} s, whole program with loading {seconds:.1f} s)")
    return error <= 1e-4 < apart


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program")
    p.add_argument("--fixtures")
    p.add_argument("--network", action="append", choices=list(FULL))
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    if a.fixtures:
        fixtures(a.fixtures)
    elif a.program:
        bad = [n for n in a.network or FULL if not compare(a.program, n, a.threads)]
        sys.exit(f"differ: {', '.join(bad)}" if bad else 0)
    else:
        p.error("give --program or --fixtures")


main()
