#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The problems `train` and `sample` of `finediffusion bench` in tinygrad: the model of torch_dit.py, the same
work, each step one TinyJit.

    DEV=CL tinygrad_dit.py 'train DiT-S/2 b2' 'sample DiT-S/2 b2' --json > tinygrad.json

tinygrad takes its device from DEV; BEAM=N lets it search for kernels (hours). Needs tinygrad 0.14."""
import math
import time
from importlib.metadata import version

import numpy as np
from tinygrad import Context, Device, Tensor, TinyJit, dtypes, nn

import report
from problem import MASKS, Problem


def normal(shape, mean, spread, rng):
    return Tensor((mean + spread * rng.standard_normal(shape)).astype(np.float32))


class Linear:
    def __init__(self, n_in, n_out, rng):
        self.weight, self.bias = normal((n_out, n_in), 0, n_in ** -0.5, rng), normal(n_out, 0, 0.1, rng)

    def __call__(self, x):
        return x.linear(self.weight.T, self.bias)


class Norm:
    def __init__(self, width, rng):
        self.weight, self.bias = normal(width, 1, 0.1, rng), normal(width, 0, 0.1, rng)

    def __call__(self, x):
        return x.layernorm(eps=1e-6) * self.weight + self.bias


def modulate(x, shift, scale):
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class Block:
    def __init__(self, d, heads, rng):
        self.heads = heads
        self.norm1, self.norm2 = Norm(d, rng), Norm(d, rng)
        self.qkv, self.proj = Linear(d, 3 * d, rng), Linear(d, d, rng)
        self.fc1, self.fc2, self.ada = Linear(d, 4 * d, rng), Linear(4 * d, d, rng), Linear(d, 6 * d, rng)

    def attention(self, x):
        b, n, d = x.shape
        q, k, v = [self.qkv(x).reshape(b, n, 3, self.heads, d // self.heads)[:, :, i].transpose(1, 2)
                   for i in range(3)]
        return self.proj(q.scaled_dot_product_attention(k, v).transpose(1, 2).reshape(b, n, d))

    def __call__(self, x, c):
        shift1, scale1, gate1, shift2, scale2, gate2 = self.ada(c.silu()).chunk(6, dim=1)
        x = x + gate1.unsqueeze(1) * self.attention(modulate(self.norm1(x), shift1, scale1))
        wide = self.fc1(modulate(self.norm2(x), shift2, scale2)).gelu()  # the tanh form
        return x + gate2.unsqueeze(1) * self.fc2(wide)


class DiT:
    def __init__(self, p, rng):
        self.p, d, patch_in = p, p.width, p.channels * p.patch ** 2
        self.patch_embed, self.time1, self.time2 = Linear(patch_in, d, rng), Linear(256, d, rng), Linear(d, d, rng)
        self.embedding_table = normal((p.rows, d), 0, 0.5, rng)
        self.pos_embed = normal((1, p.tokens, d), 0, 0.5, rng)
        self.blocks = [Block(d, p.heads, rng) for _ in range(p.depth)]
        self.norm_final = Norm(d, rng)
        self.ada, self.head = Linear(d, 2 * d, rng), Linear(d, 2 * patch_in, rng)

    def __call__(self, x, features, rows):
        p, b, g = self.p, x.shape[0], self.p.size // self.p.patch
        c = self.time2(self.time1(features).silu()) + self.embedding_table[rows]
        x = x.reshape(b, p.channels, g, p.patch, g, p.patch).permute(0, 2, 4, 1, 3, 5).reshape(b, g * g, -1)
        x = self.patch_embed(x) + self.pos_embed
        for block in self.blocks:
            x = block(x, c)
        x = self.head(modulate(self.norm_final(x), *self.ada(c.silu()).chunk(2, dim=1)))
        x = x.reshape(b, g, g, p.patch, p.patch, 2 * p.channels).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(b, 2 * p.channels, p.size, p.size)


def time_features(t):
    phase = t[:, None] * np.exp(np.arange(128) * (-math.log(10000.0) / 128))
    return Tensor(np.concatenate([np.cos(phase), np.sin(phase)], axis=1).astype(np.float32))


def schedule(t):
    beta = np.linspace(1e-4, 0.02, 1000)
    abar = np.cumprod(1 - beta)
    prev = np.concatenate([[1.0], abar[:-1]])
    var = beta * (1 - prev) / (1 - abar)
    rows = [np.sqrt(abar), np.sqrt(1 - abar), np.log(beta), np.log(np.concatenate([var[1:2], var[1:]])),
            beta * np.sqrt(prev) / (1 - abar) * np.sqrt(1 / abar - 1)]
    return [Tensor(r[t].reshape(-1, 1, 1, 1).astype(np.float32)) for r in rows]


def make_train(p, model, rng):
    if p.mask not in MASKS:
        raise SystemExit(f"'{p.text}': adapters are not measured here")
    trained = [q.is_param_() for name, q in nn.state.get_state_dict(model).items() if MASKS[p.mask](name)]
    ema = [q.detach().clone().contiguous().realize() for q in trained]
    adam = nn.optim.AdamW(trained, lr=1e-4, weight_decay=0.0)
    shape, t = (p.batch, p.channels, p.size, p.size), (np.arange(p.batch) * 331 + 500) % 1000
    x0, noise = normal(shape, 0, 1, rng).realize(), normal(shape, 0, 1, rng).realize()
    a, b, log_beta, log_var, mean_eps = [r.realize() for r in schedule(t)]
    features, rows = time_features(t).realize(), Tensor(np.arange(p.batch) * 7919 % p.rows, dtype=dtypes.int32).realize()

    @TinyJit
    @Context(TRAINING=1)
    def step():
        eps, v = model(a * x0 + b * noise, features, rows).chunk(2, dim=1)
        frac = (v + 1) / 2
        logvar = frac * log_beta + (1 - frac) * log_var
        shift = mean_eps * (eps.detach() - noise)
        kl = 0.5 * (logvar - log_var - 1 + (log_var - logvar).exp() + shift.square() * (-logvar).exp())
        loss = (eps - noise).square().mean() + kl.mean() / math.log(2)
        for q, gradient in zip(trained, loss.gradient(*trained)):  # of these alone
            q.grad = gradient
        adam.step()
        for e, q in zip(ema, trained):
            e.assign(e + 1e-4 * (q.detach() - e))
        return loss.realize(*ema)
    return lambda: step().item()


def make_sample(p, model, rng):
    rows = np.concatenate([np.arange(p.batch) * 7919 % p.rows, np.full(p.batch, p.rows - 1)])
    rows, guided = Tensor(rows, dtype=dtypes.int32).realize(), 3 if p.channels == 4 else p.channels
    t = np.full(2 * p.batch, 999)
    features = time_features(t).realize()
    alpha, sigma = [float(r.numpy().ravel()[0]) for r in schedule(t)[:2]]

    @TinyJit
    def step(x):
        cond, uncond = model(x.cat(x), features, rows)[:, :p.channels].chunk(2)
        eps = (uncond[:, :guided] + 4 * (cond[:, :guided] - uncond[:, :guided])).cat(cond[:, guided:], dim=1)
        return ((x - sigma * eps) / alpha).realize()
    shape = (p.batch, p.channels, p.size, p.size)
    return lambda: step(normal(shape, 0, 1, rng).realize()).numpy()


def measure(text, args):
    p, rng = Problem(text), np.random.default_rng(1)
    model = DiT(p, rng)
    for q in nn.state.get_parameters(model):
        q.realize()
    step = (make_train if p.kind == "train" else make_sample)(p, model, rng)
    began = time.perf_counter()
    for _ in range(3):  # TinyJit looks at two runs before it replays
        step()
    warm = time.perf_counter() - began
    return report.result(p, step, args, device=f"tinygrad {version('tinygrad')} on {Device.DEFAULT}", driver="",
                         precision="f32", weights="f32", threads=0, warmup_seconds=warm,
                         version=version("tinygrad"))


def main():
    args = report.options(__doc__, "'train DiT-S/2 b2'", "taken, and left to the OpenCL driver").parse_args()
    report.show([measure(text, args) for text in args.problems], args.json)


if __name__ == "__main__":
    main()
