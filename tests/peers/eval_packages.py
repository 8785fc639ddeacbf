#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`eval` beside the packages whose numbers papers give: features, statistics and metrics of the same pictures.

    eval_packages.py --program build/finediffusion [--pictures N] [--part features|metrics|lpips]... [--threads N]

features: FID-Inception of full size with random weights, one network in the three files that pytorch-fid, torch-fidelity
and clean-fid read (the last as TorchScript), through pictures of several sizes; sFID's features from torch-fidelity's
network; the packages' statistics (.npz) as ours and ours as theirs. metrics: the packages' functions on features of random
numbers: FID, KID, Inception score, precision, recall, density, coverage; CMMD and dgm-eval's authenticity by their formulas.
lpips: the lpips package with its heads and random trunks. Each line is a number of ours and its own; fails where features
differ by more than 1e-4 of the largest, FID by more than 1e-3 and 1e-4 of it, another metric by more than 1e-3 of it.
Wants torch, torchvision, pytorch-fid, torch-fidelity, clean-fid, prdc, lpips, scipy below 1.18, safetensors and pillow.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from inception_speed import PytorchFid, TorchFidelity, random_state

SMALL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../fixtures/eval/inception_small.pth")
SIZES = [(256, 256), (299, 299), (320, 200), (120, 170), (64, 64), (500, 400)]
# name in a TorchScript block: name in a .pth one
ROWS = {
    "a": {"conv": "branch1x1", "tower.conv": "branch5x5_1", "tower.conv_1": "branch5x5_2",
          "tower_1.conv": "branch3x3dbl_1", "tower_1.conv_1": "branch3x3dbl_2", "tower_1.conv_2": "branch3x3dbl_3",
          "tower_2.conv": "branch_pool"},
    "b": {"conv": "branch3x3", "tower.conv": "branch3x3dbl_1", "tower.conv_1": "branch3x3dbl_2",
          "tower.conv_2": "branch3x3dbl_3"},
    "c": {"conv": "branch1x1", "tower.conv": "branch7x7_1", "tower.conv_1": "branch7x7_2", "tower.conv_2": "branch7x7_3",
          "tower_1.conv": "branch7x7dbl_1", "tower_1.conv_1": "branch7x7dbl_2", "tower_1.conv_2": "branch7x7dbl_3",
          "tower_1.conv_3": "branch7x7dbl_4", "tower_1.conv_4": "branch7x7dbl_5", "tower_2.conv": "branch_pool"},
    "d": {"tower.conv": "branch3x3_1", "tower.conv_1": "branch3x3_2", "tower_1.conv": "branch7x7x3_1",
          "tower_1.conv_1": "branch7x7x3_2", "tower_1.conv_2": "branch7x7x3_3", "tower_1.conv_3": "branch7x7x3_4"},
    "e": {"conv": "branch1x1", "tower_conv": "branch3x3_1", "tower_mixed_conv": "branch3x3_2a",
          "tower_mixed_conv_1": "branch3x3_2b", "tower_1_conv": "branch3x3dbl_1", "tower_1_conv_1": "branch3x3dbl_2",
          "tower_1_mixed_conv": "branch3x3dbl_3a", "tower_1_mixed_conv_1": "branch3x3dbl_3b",
          "tower_2_conv": "branch_pool"},
}
STEM = {"conv": "Conv2d_1a_3x3", "conv_1": "Conv2d_2a_3x3", "conv_2": "Conv2d_2b_3x3", "conv_3": "Conv2d_3b_1x1",
        "conv_4": "Conv2d_4a_3x3"}
BLOCKS = [("Mixed_5b", "a"), ("Mixed_5c", "a"), ("Mixed_5d", "a"), ("Mixed_6a", "b"), ("Mixed_6b", "c"), ("Mixed_6c", "c"),
          ("Mixed_6d", "c"), ("Mixed_6e", "c"), ("Mixed_7a", "d"), ("Mixed_7b", "e"), ("Mixed_7c", "e")]


# ------------------------------------------------------------------ clean-fid's file

class ScriptConv(torch.nn.Module):
    """A convolution, batch norm without a factor, and ReLU, with the tensors that clean-fid's file has."""

    def __init__(self, state, name, stride, padding):
        super().__init__()
        factor = state[name + ".bn.weight"]
        self.weight = torch.nn.Parameter(state[name + ".conv.weight"] * factor.view(-1, 1, 1, 1))
        self.beta = torch.nn.Parameter(state[name + ".bn.bias"].clone())
        self.mean = torch.nn.Parameter(state[name + ".bn.running_mean"] * factor)
        self.var = torch.nn.Parameter(state[name + ".bn.running_var"].clone())
        self.stride, self.padding = stride, padding

    def forward(self, x):
        x = torch.nn.functional.conv2d(x, self.weight, stride=self.stride, padding=self.padding)
        return torch.relu(torch.nn.functional.batch_norm(x, self.mean, self.var, None, self.beta, eps=1e-3))


class ScriptLayers(torch.nn.Module):
    """Its `layers`: pixels [B, 3, 299, 299] in -1 .. 1 -> features [B, 2048]."""

    def __init__(self, state):
        super().__init__()
        self.ours = {}  # .pth name: module; not a ModuleDict, whose names would be in the file
        strides = {"Conv2d_1a_3x3": 2, "Mixed_6a.branch3x3": 2, "Mixed_6a.branch3x3dbl_3": 2, "Mixed_7a.branch3x3_2": 2,
                   "Mixed_7a.branch7x7x3_4": 2}
        unpadded = set(strides) | {"Conv2d_2a_3x3", "Conv2d_4a_3x3"}
        names = list(STEM.items())
        for i, (block, kind) in enumerate(BLOCKS):
            prefix = "mixed" + (f"_{i}" if i else "")
            names += [(f"{prefix}.{script}", f"{block}.{name}") for script, name in ROWS[kind].items()]
        for path, name in names:
            kernel = state[name + ".conv.weight"].shape[2:]
            padding = (0, 0) if name in unpadded else tuple(k // 2 for k in kernel)
            conv, at = ScriptConv(state, name, strides.get(name, 1), padding), self
            *folders, last = path.split(".")
            for folder in folders:
                if folder not in dict(at.named_children()):
                    at.add_module(folder, torch.nn.Module())
                at = getattr(at, folder)
            at.add_module(last, conv)
            self.ours[name] = conv

    def chain(self, x, block, *names):
        for name in names:
            x = self.ours[f"{block}.{name}"](x)
        return x

    def block(self, x, block, kind):
        def chain(*names):
            return self.chain(x, block, *names)

        F = torch.nn.functional
        mean = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        if kind == "a":
            return torch.cat([chain("branch1x1"), chain("branch5x5_1", "branch5x5_2"),
                              chain("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
                              self.chain(mean, block, "branch_pool")], 1)
        if kind == "b":
            return torch.cat([chain("branch3x3"), chain("branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
                              F.max_pool2d(x, 3, 2)], 1)
        if kind == "c":
            return torch.cat([chain("branch1x1"), chain("branch7x7_1", "branch7x7_2", "branch7x7_3"),
                              chain(*(f"branch7x7dbl_{i}" for i in range(1, 6))), self.chain(mean, block, "branch_pool")], 1)
        if kind == "d":
            return torch.cat([chain("branch3x3_1", "branch3x3_2"), chain(*(f"branch7x7x3_{i}" for i in range(1, 5))),
                              F.max_pool2d(x, 3, 2)], 1)
        a, b = chain("branch3x3_1"), chain("branch3x3dbl_1", "branch3x3dbl_2")
        pooled = F.max_pool2d(x, 3, 1, 1) if block == "Mixed_7c" else mean
        return torch.cat([chain("branch1x1"), self.chain(a, block, "branch3x3_2a"), self.chain(a, block, "branch3x3_2b"),
                          self.chain(b, block, "branch3x3dbl_3a"), self.chain(b, block, "branch3x3dbl_3b"),
                          self.chain(pooled, block, "branch_pool")], 1)

    def forward(self, x):
        for i, name in enumerate(STEM.values()):
            x = self.ours[name](x)
            if i in (2, 4):
                x = torch.nn.functional.max_pool2d(x, 3, 2)
        for block, kind in BLOCKS:
            x = self.block(x, block, kind)
        return x.mean((2, 3))


class ScriptInception(torch.nn.Module):
    def __init__(self, state):
        super().__init__()
        self.layers = ScriptLayers(state)
        self.output = torch.nn.Linear(2048, 1008)
        self.output.load_state_dict({"weight": state["fc.weight"], "bias": state["fc.bias"]})

    def forward(self, x):
        return self.output(self.layers(x))


class CleanFid:
    name, flavour = "clean-fid", "inception-clean"

    def __init__(self, weights):
        from cleanfid.inception_torchscript import InceptionV3W
        self.net = InceptionV3W(os.path.dirname(weights), download=False).eval()

    def run(self, files, batch, workers):
        from cleanfid.fid import get_files_features
        return get_files_features(files, self.net, workers, batch, torch.device("cpu"), "clean", verbose=False)


# ------------------------------------------------------------------ ours

class Checks:
    def __init__(self, program, threads):
        self.program, self.threads, self.bad = program, threads, 0

    def eval(self, *words):
        run = subprocess.run([self.program, "eval", *words, "--json", "--quiet", "--device", "cpu", "--draws", "0",
                              "--threads", str(self.threads)], check=True, stdout=subprocess.PIPE)
        return json.loads(run.stdout)["metrics"]

    def features(self, folder, network, work):
        out = os.path.join(work, "features.safetensors")
        self.eval(folder, "--no-classes", "--features", network, "--metrics", "none", "--features-out", out)
        return load_file(out)

    def say(self, name, ok, text):
        self.bad += not ok
        print(f"{name}: {text}{'' if ok else '  DIFFERS'}", flush=True)

    def near(self, name, ours, own, relative=1e-3, absolute=0.0):
        self.say(name, abs(ours - own) <= relative * abs(own) + absolute,
                 f"{ours:.9g} of ours, {own:.9g} of its own, apart by {abs(ours - own) / max(abs(own), 1e-30):.1e} of it")

    def arrays(self, name, ours, own, share=1e-4):
        apart = np.abs(ours - own).max() / np.abs(own).max()
        self.say(name, ours.shape == own.shape and apart <= share, f"largest difference {apart:.2e} of the largest")


def frechet(x, y):
    """The definition, for covariances of any rank: the sum of singular values of the product of two roots."""
    a, b = ((v - v.mean(0)) / np.sqrt(len(v) - 1) for v in (x.astype(np.float64), y.astype(np.float64)))
    root = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    return np.square(x.mean(0, dtype=np.float64) - y.mean(0, dtype=np.float64)).sum() + (a * a).sum() + (b * b).sum() - 2 * root


# ------------------------------------------------------------------ the parts

def make_pictures(folder, n, seed):
    rng = np.random.default_rng(seed)
    os.makedirs(os.path.join(folder, "a"))
    files = []
    for k in range(n):
        w, h = SIZES[k % len(SIZES)]
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((w, h), Image.BICUBIC)
        noisy = np.array(coarse).astype(int) + rng.integers(-20, 21, (h, w, 3))
        files.append(os.path.join(folder, "a", f"{k:05}.png"))
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(files[-1])
    return files


def places_of(peer, files):
    """sFID's features by torch-fidelity's network: the first seven channels of Mixed_6d.branch1x1, [N, 17 17 7]."""
    kept = []
    hook = peer.net.Mixed_6d.branch1x1.register_forward_hook(
        lambda m, i, y: kept.append(y[:, :7].permute(0, 2, 3, 1).reshape(len(y), -1).numpy()))
    peer.run(files, 1, 0)
    hook.remove()
    return np.concatenate(kept)


def check_features(c, n, work):
    state = random_state()
    pth, pt = os.path.join(work, "inception.pth"), os.path.join(work, "inception-2015-12-05.pt")
    torch.save(state, pth)
    with torch.no_grad():
        torch.jit.trace(ScriptInception(state).eval(), torch.zeros(1, 3, 299, 299)).save(pt)
    sets = {s: make_pictures(os.path.join(work, s), n, k) for k, s in enumerate(("generated", "real"))}
    for kind, weights in ((PytorchFid, pth), (TorchFidelity, pth), (CleanFid, pt)):
        peer, network = kind(weights), f"{kind.flavour}:{weights}"
        own = {s: np.asarray(peer.run(files, 1, 0)) for s, files in sets.items()}
        for s in sets:
            c.arrays(f"{peer.name}: features of {s}", c.features(os.path.join(work, s), network, work)["features"], own[s])
        short = kind.flavour.split("-")[1]
        fid = c.eval(os.path.join(work, "generated"), "--real", os.path.join(work, "real"), "--no-classes", "--features",
                     network, "--metrics", "fd,sfid")
        c.near(f"{peer.name}: FID of these pictures", fid[f"fid:{short}"]["value"], frechet(own["real"], own["generated"]),
               1e-4, 1e-3)
        places = None
        if kind is TorchFidelity:
            places = {s: places_of(peer, files) for s, files in sets.items()}
            c.near("torch-fidelity's Mixed_6d: sFID of these pictures", fid[f"sfid:{short}"]["value"],
                   frechet(places["real"], places["generated"]), 1e-4, 1e-3)
        statistics(c, peer, network, own, places, work)


def write_statistics(peer, own, places, work):
    """The package's own file of statistics; of torch-fidelity, which has none, one as ADM's suite keeps them, with its
    pictures."""
    folder, path = os.path.join(work, "real", "a"), os.path.join(work, peer.name + ".npz")
    if peer.name == "pytorch-fid":
        from pytorch_fid.fid_score import save_fid_stats
        save_fid_stats([folder, path], 1, "cpu", 2048, 0)
        return path
    if peer.name == "clean-fid":
        import cleanfid
        from cleanfid import fid
        cleanfid.__file__ = os.path.join(work, "cleanfid", "__init__.py")  # beside which it keeps statistics
        fid.build_feature_extractor = lambda *a, **k: peer.net
        fid.make_custom_stats("of_ours", folder, batch_size=1, device=torch.device("cpu"), verbose=False)
        return os.path.join(work, "cleanfid", "stats", "of_ours_clean_custom_na.npz")
    np.savez(path, arr_0=np.zeros((len(places), 8, 8, 3), np.uint8), mu=own.mean(0), sigma=np.cov(own, rowvar=False),
             mu_s=places.mean(0), sigma_s=np.cov(places, rowvar=False))
    return path


def read_statistics(peer, path, work):
    """mu, sigma, and for ADM's suite mu_s and sigma_s, as the package reads them."""
    if peer.name == "pytorch-fid":
        from pytorch_fid.fid_score import compute_statistics_of_path
        return compute_statistics_of_path(path, None, 1, 2048, "cpu")
    if peer.name == "clean-fid":
        from cleanfid.features import get_reference_statistics
        shutil.copy(path, os.path.join(work, "cleanfid", "stats", "by_us_clean_custom_na.npz"))
        return get_reference_statistics("by_us", "na", split="custom")
    with np.load(path) as f:
        return [f[name] for name in ("mu", "sigma", "mu_s", "sigma_s")]


def statistics(c, peer, network, own, places, work):
    """.npz of the package read by us, and ours by the package."""
    ours, theirs = os.path.join(work, "ours.npz"), write_statistics(peer, own["real"], places and places["real"], work)
    c.eval(os.path.join(work, "real"), "--no-classes", "--features", network, "--metrics", "none", "--stats-out", ours)
    of = [own["real"]] + ([places["real"]] if places else [])
    want = [v for x in of for v in (x.mean(0), np.cov(x, rowvar=False))]
    for name, got, wanted in zip(("mu", "sigma", "mu_s", "sigma_s"), read_statistics(peer, ours, work), want):
        c.arrays(f"{peer.name}: reads our {name}", got, wanted)
    read = c.eval(os.path.join(work, "generated"), "--stats", theirs, "--no-classes", "--features", network, "--metrics",
                  "fd,sfid" if places else "fd")
    for name, x in (("FID", own), ("sFID", places)):
        if x:
            value = next(m["value"] for m in read.values() if m["metric"] == ("fd" if name == "FID" else "sfid"))
            c.near(f"{peer.name}: {name} beside statistics of its own", value, frechet(x["real"], x["generated"]), 1e-4, 1e-3)


def check_metrics(c, _, work):
    import prdc
    import scipy.linalg
    from cleanfid.fid import frechet_distance, kernel_distance
    from pytorch_fid.fid_score import calculate_frechet_distance
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_isc import isc_features_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric
    rng = np.random.default_rng(11)
    mix = rng.normal(size=(96, 96)) / 10 + np.eye(96)
    real = np.maximum(rng.normal(size=(900, 96)) @ mix, 0).astype(np.float32)
    generated = np.maximum(rng.normal(0.15, 1.1, size=(900, 96)) @ mix, 0).astype(np.float32)
    save_file({"features": real}, os.path.join(work, "r.safetensors"))
    save_file({"features": generated}, os.path.join(work, "g.safetensors"))
    ours = {m["metric"]: m["value"] for m in c.eval(
        os.path.join(work, "g.safetensors"), "--real", os.path.join(work, "r.safetensors"), "--no-classes", "--metrics",
        "fd,kid,kid-subsets,cmmd,precision,recall,density,coverage,authenticity").values()}
    moments = [v for x in (real, generated) for v in (x.mean(0), np.cov(x, rowvar=False))]
    x, y = (torch.from_numpy(v.astype(np.float64)) for v in (real, generated))
    one = dict(kid_subsets=1, kid_subset_size=900, verbose=False)
    c.near("pytorch-fid: FID", ours["fd"], calculate_frechet_distance(*moments), 1e-4, 1e-3)
    c.near("clean-fid: FID", ours["fd"], frechet_distance(*moments), 1e-4, 1e-3)
    c.near("torch-fidelity: FID", ours["fd"], fid_statistics_to_metric(
        fid_features_to_statistics(x), fid_features_to_statistics(y), False)["frechet_inception_distance"], 1e-4, 1e-3)
    c.near("dgm-eval's formula: FD", ours["fd"], np.square(moments[0] - moments[2]).sum() + np.trace(
        moments[1] + moments[3] - 2 * scipy.linalg.sqrtm(moments[1] @ moments[3]).real), 1e-4, 1e-3)
    kid = kid_features_to_metric(y, x, **one)["kernel_inception_distance_mean"]
    c.near("torch-fidelity: KID, a subset of all", ours["kid"], kid)
    c.near("torch-fidelity: KID, ours of subsets", ours["kid-subsets"], kid)
    check_subsets(c, work, rng)
    c.near("clean-fid: KID", ours["kid"], kernel_distance(real.astype(np.float64), generated.astype(np.float64), 1))
    prc = prc_features_to_metric(y, x, prc_neighborhood=3, prc_batch_size=100, save_cpu_ram=False, verbose=False)
    c.near("torch-fidelity: precision", ours["precision"], prc["precision"])
    c.near("torch-fidelity: recall", ours["recall"], prc["recall"])
    near = prdc.compute_prdc(real, generated, 5)
    c.near("prdc: density", ours["density"], near["density"])
    c.near("prdc: coverage", ours["coverage"], near["coverage"])
    logits = (4 * rng.normal(size=(5003, 40))).astype(np.float32)
    save_file({"features": logits[:, :2].copy(), "logits": logits}, os.path.join(work, "l.safetensors"))
    score = next(iter(c.eval(os.path.join(work, "l.safetensors"), "--no-classes", "--metrics", "is").values()))
    peer = isc_features_to_metric(torch.from_numpy(logits), 10)
    c.near("torch-fidelity: Inception score", score["value"], peer["inception_score_mean"])
    c.near("torch-fidelity: deviation of the Inception score", score["error"], peer["inception_score_std"])
    c.near("its formula: CMMD", ours["cmmd"], cmmd(real, generated))
    c.near("dgm-eval's formula: authenticity", ours["authenticity"], authenticity(real, generated))


def check_subsets(c, work, rng):
    """KID as published, 100 subsets of 1,000: torch-fidelity's subsets, so its numbers."""
    from torch_fidelity.metric_kid import kid_features_to_metric
    real, generated = (rng.normal(m, 1, size=(n, 32)).astype(np.float32) for m, n in ((0, 2100), (0.1, 1700)))
    save_file({"features": real}, os.path.join(work, "many-r.safetensors"))
    save_file({"features": generated}, os.path.join(work, "many-g.safetensors"))
    ours = next(iter(c.eval(os.path.join(work, "many-g.safetensors"), "--real", os.path.join(work, "many-r.safetensors"),
                            "--no-classes", "--metrics", "kid-subsets").values()))
    peer = kid_features_to_metric(torch.from_numpy(generated.astype(np.float64)), torch.from_numpy(real.astype(np.float64)),
                                  kid_subsets=100, kid_subset_size=1000, verbose=False)
    c.near("torch-fidelity: KID of 100 subsets", ours["value"], peer["kernel_inception_distance_mean"])
    c.near("torch-fidelity: deviation of the subsets", ours["error"], peer["kernel_inception_distance_std"])


def cmmd(x, y):
    """cmmd-pytorch: unit length, a Gaussian of width 10, biased, times 1000."""
    x, y = (v.astype(np.float64) / np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True) for v in (x, y))

    def mean(a, b):
        return np.exp(-np.square(a[:, None] - b[None]).sum(-1) / 200).mean()

    return 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))


def authenticity(real, generated):
    """dgm-eval's authpct: shares of generated pictures that are farther from the real one nearest to them than that one is
    from its own nearest."""
    among = torch.cdist(torch.from_numpy(real).double(), torch.from_numpy(real).double())
    among.fill_diagonal_(float("inf"))
    distance, nearest = torch.cdist(torch.from_numpy(generated).double(), torch.from_numpy(real).double()).min(1)
    return (distance > among.min(1).values[nearest]).double().mean().item()


def check_lpips(c, _, work):
    import lpips
    import torchvision
    rng = np.random.default_rng(3)
    os.makedirs(os.path.join(work, "pairs", "a"))
    pixels = []
    for k in range(3):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)).resize((96, 96), Image.BICUBIC)
        coarse.save(os.path.join(work, "pairs", "a", f"{k}.png"))
        pixels.append(torch.from_numpy(np.array(coarse)).permute(2, 0, 1)[None] / 127.5 - 1)
    for net, trunk in (("alex", torchvision.models.alexnet), ("vgg", torchvision.models.vgg16)):
        torch.manual_seed(2)
        model = trunk(weights=None).eval()
        path, heads = os.path.join(work, net + ".pth"), os.path.join(os.path.dirname(lpips.__file__), "weights/v0.1", net + ".pth")
        torch.save(model.state_dict(), path)
        peer = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
        flat = [m for m in peer.net.modules() if isinstance(m, torch.nn.Conv2d)]
        with torch.no_grad():
            for to, of in zip(flat, (m for m in model.features if isinstance(m, torch.nn.Conv2d))):
                to.load_state_dict(of.state_dict())
            own = np.mean([peer(pixels[i], pixels[k]).item() for i in range(3) for k in range(i)])
        ours = c.eval(os.path.join(work, "pairs"), "--metrics", "lpips", "--lpips", f"{path},{heads}", "--features",
                      "inception-tf:" + SMALL)
        c.near(f"lpips {net}: mean of the pairs", next(m["value"] for m in ours.values() if m["metric"] == "lpips"), own)


PARTS = {"metrics": check_metrics, "lpips": check_lpips, "features": check_features}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", required=True)
    p.add_argument("--pictures", type=int, default=12, help="of each of two sets")
    p.add_argument("--part", action="append", choices=list(PARTS))
    p.add_argument("--threads", type=int, default=2)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    c = Checks(a.program, a.threads)
    for part in a.part or PARTS:
        with tempfile.TemporaryDirectory() as work:
            PARTS[part](c, a.pictures, work)
    sys.exit(f"{c.bad} differ" if c.bad else 0)


if __name__ == "__main__":
    main()
