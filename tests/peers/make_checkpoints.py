#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Random weights in every layout that people have, with PyTorch (2.0 or newer), outside the build.

    make_checkpoints.py corpus DIR           small files of every type, for tests/corpus/pt
    make_checkpoints.py layouts DIR [--model XL/2] [--rows 317] [--input 32] [--only NAME,...]
        stock.pt           flat state_dict, no norm weights, 1001 rows
        finediffusion.pt   model, ema, opt, args; ROWS rows
        legacy.pt          the stock one in the layout before torch 1.6
        diffusers/         a pipeline's folder transformer with config.json and safetensors in two shards
"""
import argparse
import collections
import json
import os
import pickle

import torch
from torch_dit import DiT, randomise, sizes

NUMBERS = [[0.0, 1.0, -2.0], [3.5, -0.25, 100.0]]


def to_diffusers(state, depth):
    """The public names -> those of diffusers' DiTTransformer2DModel."""
    out = {}
    simple = {"x_embedder.proj": "pos_embed.proj", "final_layer.linear": "proj_out_2",
              "final_layer.adaLN_modulation.1": "proj_out_1"}
    for old, new in simple.items():
        for end in ("weight", "bias"):
            out[f"{new}.{end}"] = state[f"{old}.{end}"]
    for i in range(depth):
        a, b = f"blocks.{i}.", f"transformer_blocks.{i}."
        emb = b + "norm1.emb."
        for end in ("weight", "bias"):
            out[f"{emb}timestep_embedder.linear_1.{end}"] = state[f"t_embedder.mlp.0.{end}"]
            out[f"{emb}timestep_embedder.linear_2.{end}"] = state[f"t_embedder.mlp.2.{end}"]
            out[f"{b}norm1.linear.{end}"] = state[f"{a}adaLN_modulation.1.{end}"]
            for part, name in zip(state[f"{a}attn.qkv.{end}"].chunk(3), ("to_q", "to_k", "to_v")):
                out[f"{b}attn1.{name}.{end}"] = part.contiguous()
            out[f"{b}attn1.to_out.0.{end}"] = state[f"{a}attn.proj.{end}"]
            out[f"{b}ff.net.0.proj.{end}"] = state[f"{a}mlp.fc1.{end}"]
            out[f"{b}ff.net.2.{end}"] = state[f"{a}mlp.fc2.{end}"]
        out[f"{emb}class_embedder.embedding_table.weight"] = state["y_embedder.embedding_table.weight"]
    return {name: t.clone() for name, t in out.items()}


def save_sharded(tensors, folder, shards=2):
    from safetensors.torch import save_file
    names = list(tensors)
    cut = (len(names) + shards - 1) // shards
    index = {}
    for k in range(shards):
        part = names[k * cut:(k + 1) * cut]
        file = f"diffusion_pytorch_model-{k + 1:05d}-of-{shards:05d}.safetensors"
        save_file({n: tensors[n] for n in part}, os.path.join(folder, file), metadata={"format": "pt"})
        index.update({n: file for n in part})
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    with open(os.path.join(folder, "diffusion_pytorch_model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": size}, "weight_map": index}, f)


def make_diffusers(state, model, rows, input_size, folder):
    depth, width, heads, patch = sizes(model)
    os.makedirs(folder, exist_ok=True)
    config = {"_class_name": "DiTTransformer2DModel", "num_attention_heads": heads,
              "attention_head_dim": width // heads, "in_channels": 4, "out_channels": 8,
              "num_layers": depth, "sample_size": input_size, "patch_size": patch,
              "num_embeds_ada_norm": rows - 1, "attention_bias": True,
              "activation_fn": "gelu-approximate", "norm_type": "ada_norm_zero",
              "norm_elementwise_affine": False}
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
    save_sharded(to_diffusers(state, depth), folder)


def make_finediffusion(a, path):
    net = randomise(DiT(a.model, a.rows, a.input), 2)
    ema = {n: t * (1 + 1e-5) for n, t in net.state_dict().items()}
    opt = torch.optim.AdamW([p for n, p in net.named_parameters()
                             if "embedding_table" in n or "bias" in n or "norm" in n], lr=1e-4)
    for p in opt.param_groups[0]["params"]:
        p.grad = torch.full_like(p, 1e-3)
    opt.step()
    args = argparse.Namespace(model="DiT-" + a.model if "/" in a.model else a.model, image_size=8 * a.input,
                              num_classes=a.rows - 11, num_super_classes=11, epochs=10,
                              global_batch_size=32, data_path="data", results_dir="results", resume=None)
    torch.save({"model": net.state_dict(), "ema": collections.OrderedDict(ema),
                "opt": opt.state_dict(), "args": args}, path)


def layouts(a):
    os.makedirs(a.dir, exist_ok=True)
    wanted = a.only.split(",") if a.only else ["stock", "legacy", "diffusers", "finediffusion"]
    if {"stock", "legacy", "diffusers"} & set(wanted):
        stock = randomise(DiT(a.model, a.stock_rows, a.input, affine=False), 1).state_dict()
        if "stock" in wanted:
            torch.save(stock, os.path.join(a.dir, "stock.pt"))
        if "legacy" in wanted:
            torch.save(stock, os.path.join(a.dir, "legacy.pt"), _use_new_zipfile_serialization=False)
        if "diffusers" in wanted:
            make_diffusers(stock, a.model, a.stock_rows, a.input,
                           os.path.join(a.dir, "diffusers", "transformer"))
        del stock
    if "finediffusion" in wanted:
        make_finediffusion(a, os.path.join(a.dir, "finediffusion.pt"))


def corpus(a):
    os.makedirs(a.dir, exist_ok=True)
    x = torch.tensor(NUMBERS, dtype=torch.float64)
    types = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32,
             torch.int16, torch.int8, torch.uint8, torch.bool]
    state = collections.OrderedDict((str(t).replace("torch.", ""), x.abs().to(t) if t == torch.uint8
                                     else x.to(t)) for t in types)
    base = torch.arange(24, dtype=torch.float32)
    views = {"whole": base.reshape(2, 3, 4), "tail": base[20:], "swapped": base.reshape(4, 6).t(),
             "steps": base[1::5], "one": base[7], "empty": base[:0],
             "parameter": torch.nn.Parameter(base[:4].clone())}
    nested = {"model": {"x": torch.ones(2)}, "args": argparse.Namespace(model="DiT-S/2", lr=1e-4, seed=0,
                                                                        betas=(0.9, 0.999), resume=None),
              "opt": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}},
                      "param_groups": [{"lr": 1e-4, "params": [0, 1], "names": ["a", "b"]}]},
              "size": torch.Size([2, 3]), "device": torch.device("cpu"), "epoch": 2 ** 40, "big": 2 ** 80}
    for name, value in (("types", state), ("views", views), ("nested", nested)):
        torch.save(value, os.path.join(a.dir, name + ".pt"))
        torch.save(value, os.path.join(a.dir, name + "_old.pt"), _use_new_zipfile_serialization=False)
    torch.save({"w": x.to(torch.float8_e4m3fn), "u": torch.ones(3, dtype=torch.uint16)},
               os.path.join(a.dir, "v3.pt"))
    for protocol in range(6):
        plain = {"a": [1, -2, 3.5, True, None, 2 ** 40, 2 ** 80, "text", b"bytes", (), (1,), (1, 2, 3, 4)],
                 "b": {"c": frozenset({1}), "d": collections.OrderedDict(e=1)}}
        with open(os.path.join(a.dir, f"protocol{protocol}.pkl"), "wb") as f:
            pickle.dump(plain, f, protocol)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("what", choices=["corpus", "layouts"])
    p.add_argument("dir")
    p.add_argument("--model", default="XL/2")
    p.add_argument("--rows", type=int, default=317)
    p.add_argument("--stock-rows", type=int, default=1001)
    p.add_argument("--input", type=int, default=32)
    p.add_argument("--only", default="")
    a = p.parse_args()
    {"corpus": corpus, "layouts": layouts}[a.what](a)


if __name__ == "__main__":
    main()
