#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The problems `train` and `sample` of `finediffusion bench` in PyTorch: the same model, the same work.

    torch_dit.py 'train DiT-S/2 b4' 'sample DiT-S/2 b4' --json > torch.json
    torch_dit.py 'train DiT-S/2 b4' --compile --autocast bf16 --threads 2
    torch_dit.py 'train DiT-XL/2 b8' --device cuda [--tf32]

A training step is forward, loss (noise and variance), backward, AdamW and EMA of the trained parameters:
class table, biases and norms, or what another mask says. Frozen matrices take no gradient. A sampling step
runs both branches as one doubled batch, guides three of four channels, and updates the picture. Nothing
here is slowed down on purpose: attention is scaled_dot_product_attention, the optimiser the fused or
foreach one, the EMA one foreach call. The output has the fields of `finediffusion bench --json`, so that
`finediffusion bench --compare` shows both. Needs PyTorch 2; LoRA is that of PEFT."""
import math
import time

import torch
import torch.nn.functional as F
from torch import nn

import report
from problem import Problem, mask_of

# ------------------------------------------------------------------------------------------- the model

class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


def modulate(x, shift, scale):
    return x * (1 + scale[:, None]) + shift[:, None]


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn, self.mlp = Attention(width, heads), Mlp(width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).chunk(6, dim=1)
        x = x + gate1[:, None] * self.attn(modulate(self.norm1(x), shift1, scale1))
        return x + gate2[:, None] * self.mlp(modulate(self.norm2(x), shift2, scale2))


class Head(nn.Module):
    def __init__(self, width, patch, channels):
        super().__init__()
        self.norm_final = nn.LayerNorm(width, eps=1e-6)
        self.linear = nn.Linear(width, patch * patch * channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x, c):
        shift, scale = self.adaLN_modulation(c).chunk(2, dim=1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


def time_features(t):
    phase = t[:, None].float() * torch.exp(torch.arange(128) * (-math.log(10000.0) / 128))
    return torch.cat([phase.cos(), phase.sin()], dim=1)


class DiT(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.patch, self.channels, self.grid = p.patch, p.channels, p.size // p.patch
        self.patch_embed = nn.Linear(p.channels * p.patch * p.patch, p.width)
        self.time = nn.Sequential(nn.Linear(256, p.width), nn.SiLU(), nn.Linear(p.width, p.width))
        self.embedding_table = nn.Embedding(p.rows, p.width)
        self.pos_embed = nn.Parameter(torch.randn(1, p.tokens, p.width) * 0.5)
        self.blocks = nn.ModuleList(Block(p.width, p.heads) for _ in range(p.depth))
        self.head = Head(p.width, p.patch, 2 * p.channels)

    def forward(self, x, t, rows):
        return self.network(x, time_features(t), rows)

    def network(self, x, features, rows):
        b, g, p = len(x), self.grid, self.patch
        c = self.time(features) + self.embedding_table(rows)
        x = x.reshape(b, self.channels, g, p, g, p).permute(0, 2, 4, 1, 3, 5).reshape(b, g * g, -1)
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = block(x, c)
        x = self.head(x, c).reshape(b, g, g, p, p, 2 * self.channels)
        return x.permute(0, 5, 1, 3, 2, 4).reshape(b, 2 * self.channels, g * p, g * p)


def randomise(model):
    """Nowhere zero, and activations near 1: the spreads that finediffusion bench uses."""
    for name, p in model.named_parameters():
        if "norm" in name:
            nn.init.normal_(p, 1.0 if name.endswith("weight") else 0.0, 0.1)
        elif name.endswith("bias"):
            nn.init.normal_(p, 0.0, 0.1)
        elif "embedding_table" in name or name == "pos_embed":
            nn.init.normal_(p, 0.0, 0.5)
        else:
            nn.init.normal_(p, 0.0, p[0].numel() ** -0.5)


class Scaled(nn.Linear):
    """A layer whose result is multiplied by a trained vector (DiffFit)."""

    def __init__(self, plain):
        super().__init__(plain.in_features, plain.out_features)
        self.load_state_dict(plain.state_dict())
        self.gamma = nn.Parameter(torch.ones(plain.out_features))

    def forward(self, x):
        return self.gamma * super().forward(x)


def adapt(p, model):
    """The adapter of the problem's mask: LoRA by the library PEFT, DiffFit by vectors beside the layers (gamma on
    the results of proj and fc2 is gamma on the branches)."""
    for word in p.mask.split("+"):
        kind, *numbers = word.split(":")
        if kind in ("lora", "rslora"):
            from peft import LoraConfig, inject_adapter_in_model
            rank = int(numbers[0])
            alpha = float(numbers[1]) if len(numbers) > 1 else rank
            inject_adapter_in_model(
                LoraConfig(r=rank, lora_alpha=alpha, use_rslora=kind == "rslora",
                           target_modules=["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"]), model)
        elif kind.startswith("difffit"):
            for block in model.blocks:
                block.attn.proj, block.mlp.fc2 = Scaled(block.attn.proj), Scaled(block.mlp.fc2)
                if kind == "difffit-linear":
                    block.attn.qkv, block.mlp.fc1 = Scaled(block.attn.qkv), Scaled(block.mlp.fc1)


# --------------------------------------------------------------------------------------- noise process

class Schedule:
    def __init__(self):
        beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
        abar = torch.cumprod(1 - beta, 0)
        prev = torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
        var = beta * (1 - prev) / (1 - abar)
        self.table = torch.stack([abar.sqrt(), (1 - abar).sqrt(), beta.log(),
                                  torch.cat([var[1:2], var[1:]]).log(),
                                  beta * prev.sqrt() / (1 - abar) * (1 / abar - 1).sqrt()]).float()

    def at(self, t):
        return [row[t].reshape(-1, 1, 1, 1) for row in self.table]


def losses(out, noise, log_beta, log_var, mean_eps):
    """mse of the noise and the variational bound of the variance, in bits, for t > 0."""
    eps, v = out.float().chunk(2, dim=1)
    mse = (eps - noise).square().mean()
    frac = (v + 1) / 2
    logvar = frac * log_beta + (1 - frac) * log_var
    shift = mean_eps * (eps.detach() - noise)
    kl = 0.5 * (logvar - log_var - 1 + torch.exp(log_var - logvar) + shift.square() * torch.exp(-logvar))
    return mse + kl.mean() / math.log(2)


# --------------------------------------------------------------------------------------------- the work

def autocast(args):
    return torch.autocast(args.device, dtype=torch.bfloat16, enabled=args.autocast == "bf16")


def make_train(p, model, args):
    trained = []
    for name, q in model.named_parameters():
        q.requires_grad_(mask_of(p.mask)(name))
        if q.requires_grad:
            trained.append(q)
    ema = [q.detach().clone() for q in trained]
    adam = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0,
                             fused=args.adamw == "fused", foreach=args.adamw == "foreach")
    schedule, shape = Schedule(), (p.batch, p.channels, p.size, p.size)
    x0, noise = torch.randn(shape), torch.randn(shape)
    t = (torch.arange(p.batch) * 331 + 500) % 1000
    rows = torch.arange(p.batch) * 7919 % p.rows
    net = torch.compile(model) if args.compile else model

    def step():
        a, b, log_beta, log_var, mean_eps = schedule.at(t)
        with autocast(args):
            out = net(a * x0 + b * noise, t, rows)
        loss = losses(out, noise, log_beta, log_var, mean_eps)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        with torch.no_grad():
            torch._foreach_lerp_(ema, [q.detach() for q in trained], 1e-4)
        return loss.item()
    return step


def make_sample(p, model, args):
    shape = (p.batch, p.channels, p.size, p.size)
    rows = torch.cat([torch.arange(p.batch) * 7919 % p.rows, torch.full((p.batch,), p.rows - 1)])
    guided = 3 if p.channels == 4 else p.channels
    net = torch.compile(model) if args.compile else model
    sigma, alpha = Schedule().table[1][999].item(), Schedule().table[0][999].item()

    @torch.no_grad()
    def step():
        x = torch.randn(shape)
        with autocast(args):
            out = net(torch.cat([x, x]), torch.full((2 * p.batch,), 999), rows)
        cond, uncond = out.float()[:, :p.channels].chunk(2)
        eps = torch.cat([uncond[:, :guided] + 4 * (cond[:, :guided] - uncond[:, :guided]),
                         cond[:, guided:]], dim=1)
        return ((x - sigma * eps) / alpha).cpu().numpy()
    return step


def device_name(args):
    return torch.cuda.get_device_name() if args.device == "cuda" else "the CPU"


def measure(text, args):
    p = Problem(text)
    torch.manual_seed(1)
    model = DiT(p)
    randomise(model)
    adapt(p, model)
    step = (make_train if p.kind == "train" else make_sample)(p, model, args)
    began = time.perf_counter()
    step()
    step()  # the optimiser's state is made in the first one
    warm = time.perf_counter() - began
    how = "compiled" if args.compile else "eager"
    return report.result(p, step, args,
                         device=f"PyTorch {torch.__version__} on {device_name(args)}, {how}",
                         driver="cuBLAS" if args.device == "cuda" else
                         "oneDNN" if torch.backends.mkldnn.is_available() else "no oneDNN",
                         precision=args.autocast or ("tf32" if args.tf32 else "f32"), weights="f32",
                         threads=torch.get_num_threads(), warmup_seconds=warm, version=torch.__version__,
                         memory=torch.cuda.max_memory_allocated if args.device == "cuda" else
                         report.peak_memory)


def main():
    parser = report.options(__doc__, "'train DiT-S/2 b4'", "threads of PyTorch (default: its own choice)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--tf32", action="store_true", help="matrix units of NVIDIA for f32 products")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    parser.add_argument("--autocast", choices=["bf16"], help="arithmetic of the products")
    parser.add_argument("--adamw", choices=["fused", "foreach", "loop"], default="fused")
    args = parser.parse_args()
    torch.set_default_device(args.device)
    torch.backends.cuda.matmul.allow_tf32 = args.tf32
    if args.threads:
        torch.set_num_threads(args.threads)
    report.show([measure(text, args) for text in args.problems], args.json)


if __name__ == "__main__":
    main()
