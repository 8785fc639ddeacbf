#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The autoencoder of Stable Diffusion's size with random weights, here and in diffusers, on the same cores.

    diffusers_vae.py make FOLDER             writes the model, a picture, latents, and what diffusers makes of them;
        FDIT_VAE_PEER=FOLDER tests/test_vae  then says how far this program is off
    diffusers_vae.py time PROGRAM [ROUNDS [f32|bf16]]   seconds of one picture of 256 pixels, the two in turn, least
        and median of the rounds; the processor's time says more on a machine that is not quiet. bf16 is --precision
        bf16 here, and a model of that type there

Needs torch, diffusers and safetensors. Not part of the build."""
import json
import os
import resource
import statistics
import subprocess
import sys
import time

# Threads that wait must not count as work.
os.environ["OMP_WAIT_POLICY"] = "passive"

import torch
from diffusers import AutoencoderKL
from safetensors.torch import save_file

SIZE = int(os.environ.get("SIZE", "256"))


def model():
    torch.manual_seed(1)
    vae = AutoencoderKL(in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(128, 256, 512, 512),
                        layers_per_block=2, norm_num_groups=32, down_block_types=("DownEncoderBlock2D",) * 4,
                        up_block_types=("UpDecoderBlock2D",) * 4, sample_size=SIZE)
    with torch.no_grad():
        for name, p in vae.named_parameters():  # norms away from 1 and 0, biases that show
            if p.dim() == 1:
                p.add_(0.1 * torch.randn_like(p))
    return vae.eval()


def inputs():
    torch.manual_seed(2)
    return torch.rand(1, 3, SIZE, SIZE) * 2 - 1, torch.randn(1, 4, SIZE // 8, SIZE // 8)


@torch.no_grad()
def encode(vae, image):
    return vae.quant_conv(vae.encoder(image))


@torch.no_grad()
def decode(vae, z):
    return vae.decode(z).sample


def make(folder):
    vae = model()
    image, z = inputs()
    vae.save_pretrained(folder)
    save_file({"image": image, "moments": encode(vae, image).contiguous(), "z": z,
               "decoded": decode(vae, z).contiguous()}, folder + "/expected.safetensors")


def once(f, *args):
    """Seconds by the clock, and of the processor on all threads."""
    start, cpu = time.perf_counter(), time.process_time()
    f(*args)
    return time.perf_counter() - start, time.process_time() - cpu


def ours(program, way, precision):
    """The same of ours: the processor's time is what more repetitions cost, as a run also verifies."""
    cpu, result = [], None
    for repetitions in (1, 3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        out = subprocess.run([program, "bench", f"vae {way} {SIZE}", "--device", "cpu", "--json", "--precision",
                              precision, "--repetitions", str(repetitions)], check=True, capture_output=True,
                             text=True).stdout
        cpu.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
        result = json.loads(out)[0]
    return result["seconds_min"], (cpu[1] - cpu[0]) / 2


def timing(program, rounds, precision):
    torch.set_num_threads(2)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    vae = model().to(dtype)
    image, z = (x.to(dtype) for x in inputs())
    times = {}
    for k in range(rounds + 1):  # the first is a warm-up
        for way, f, x in (("encode", encode, image), ("decode", decode, z)):
            for layout in ("contiguous", "channels_last"):
                form = torch.channels_last if layout == "channels_last" else torch.contiguous_format
                vae.to(memory_format=form)
                t = once(f, vae, x.contiguous(memory_format=form))
                if k:
                    times.setdefault((way, "diffusers " + layout), []).append(t)
            if k:
                times.setdefault((way, "finediffusion"), []).append(ours(program, way, precision))
    for (way, who), t in sorted(times.items()):
        clock, cpu = zip(*t)
        print(f"{way} {SIZE} {precision}  {who:24s} by the clock {min(clock):7.3f} s, median "
              f"{statistics.median(clock):7.3f} s; of the processor {min(cpu):7.3f} s")


if sys.argv[1] == "make":
    make(sys.argv[2])
else:
    timing(sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 3, sys.argv[4] if len(sys.argv) > 4 else "f32")
