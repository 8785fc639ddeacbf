# SPDX-License-Identifier: Apache-2.0
"""A class-conditional DiT in plain PyTorch, written from the formulas in doc/DESIGN.md, with the parameter
names of the public checkpoints. For comparing only; nothing of the build or of make check uses it."""
import math

import torch
from torch import nn
import torch.nn.functional as F

SIZES = {"XL": (28, 1152, 16), "L": (24, 1024, 16), "B": (12, 768, 12), "S": (12, 384, 6)}


def sizes(text):
    """"XL/2", or "D,L,H,P" -> depth, width, heads, patch."""
    if "," in text:
        d, l, h, p = (int(v) for v in text.split(","))
        return l, d, h, p
    name, patch = text.replace("DiT-", "").split("/")
    return (*SIZES[name], int(patch))


def positions(width, grid):
    w = 10000.0 ** (-torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    at = torch.arange(grid, dtype=torch.float64)[:, None] * w
    one = torch.cat([at.sin(), at.cos()], 1)
    column = one[None, :, :].expand(grid, grid, -1)
    row = one[:, None, :].expand(grid, grid, -1)
    return torch.cat([column, row], 2).reshape(1, grid * grid, width).float()


def time_features(t):
    f = torch.exp(-math.log(10000.0) * torch.arange(128, dtype=torch.float32) / 128)
    phase = t.float()[:, None] * f
    return torch.cat([phase.cos(), phase.sin()], 1)


class Norm(nn.LayerNorm):
    def __init__(self, width, affine):
        super().__init__(width, eps=1e-6, elementwise_affine=affine)


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(b, n, d))


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


def modulate(x, shift, scale):
    return x * (1 + scale[:, None]) + shift[:, None]


class Block(nn.Module):
    def __init__(self, width, heads, affine):
        super().__init__()
        self.norm1 = Norm(width, affine)
        self.attn = Attention(width, heads)
        self.norm2 = Norm(width, affine)
        self.mlp = Mlp(width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def forward(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).chunk(6, 1)
        x = x + gate1[:, None] * self.attn(modulate(self.norm1(x), shift1, scale1))
        return x + gate2[:, None] * self.mlp(modulate(self.norm2(x), shift2, scale2))


class PatchEmbed(nn.Module):
    def __init__(self, channels, width, patch):
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class TimeEmbed(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t):
        return self.mlp(time_features(t))


class LabelEmbed(nn.Module):
    def __init__(self, rows, width):
        super().__init__()
        self.embedding_table = nn.Embedding(rows, width)

    def forward(self, row):
        return self.embedding_table(row)


class Head(nn.Module):
    def __init__(self, width, n_out, affine):
        super().__init__()
        self.norm_final = Norm(width, affine)
        self.linear = nn.Linear(width, n_out)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x, c):
        shift, scale = self.adaLN_modulation(c).chunk(2, 1)
        return self.linear(modulate(self.norm_final(x), shift, scale))


class DiT(nn.Module):
    """affine: LayerNorms with weight and bias (fine-tuned models); a stock DiT has none."""

    def __init__(self, model, rows, input_size=32, channels=4, affine=True):
        super().__init__()
        depth, width, heads, patch = sizes(model)
        self.channels, self.patch, self.grid = channels, patch, input_size // patch
        self.pos_embed = nn.Parameter(positions(width, self.grid), requires_grad=False)
        self.x_embedder = PatchEmbed(channels, width, patch)
        self.t_embedder = TimeEmbed(width)
        self.y_embedder = LabelEmbed(rows, width)
        self.blocks = nn.ModuleList(Block(width, heads, affine) for _ in range(depth))
        self.final_layer = Head(width, 2 * channels * patch * patch, affine)

    def forward(self, x, t, row):
        h = self.x_embedder(x) + self.pos_embed
        c = self.t_embedder(t) + self.y_embedder(row)
        for block in self.blocks:
            h = block(h, c)
        h = self.final_layer(h, c)
        g, p = self.grid, self.patch
        h = h.reshape(-1, g, g, p, p, 2 * self.channels)
        return h.permute(0, 5, 1, 3, 2, 4).reshape(-1, 2 * self.channels, g * p, g * p)


def randomise(model, seed):
    """Nowhere zero, and of a size that keeps activations near 1."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name == "pos_embed":
                continue
            if p.dim() > 1:
                spread = 0.02 if "embedding_table" in name else 1 / math.sqrt(p[0].numel())
                if "adaLN" in name:
                    spread *= 0.3
                p.normal_(0, spread, generator=g)
            elif "norm" in name and name.endswith("weight"):
                p.normal_(1, 0.1, generator=g)
            else:
                p.normal_(0, 0.05, generator=g)
    return model
