#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""FID-Inception of full size with random weights: features and speed against pytorch-fid and torch-fidelity.

    inception_speed.py --program build/finediffusion [--precision f32|bf16|both] [--pictures N] [--rounds R] [--threads N]
        [--realtime]

Writes random weights in the file that the three read, and N pictures of 256 x 256 as PNG. Each round times all three
in turn, files to features: decoded, resized to 299 x 299, through the network. Loading is left out: of PyTorch the
features alone are timed, with the model in memory; of finediffusion a run over N + 8 pictures less one over 8. The
least of the rounds counts. bf16 is PyTorch's autocast on the peers' side. Fails where features differ by more than 1e-4 of
the largest (0.05 in bf16). --realtime runs each under
"chrt -f 50", for a machine with other work. Wants torch, torchvision, pytorch-fid, torch-fidelity, safetensors, pillow.
"""
import argparse
import glob
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file

EXTRA = 8


def random_state():
    """Random weights of the Inception of FID: activations keep their size from layer to layer."""
    import torchvision
    from pytorch_fid import inception
    inception.load_state_dict_from_url = lambda *a, **k: {}
    load, torchvision.models.inception.Inception3.load_state_dict = (
        torchvision.models.inception.Inception3.load_state_dict, lambda *a, **k: None)
    net = inception.fid_inception_v3()
    torchvision.models.inception.Inception3.load_state_dict = load
    torch.manual_seed(5)
    state = {}
    for name, p in net.state_dict().items():
        if name.endswith("num_batches_tracked") or name.startswith("AuxLogits"):
            continue
        noise = torch.randn(p.shape)
        if p.dim() > 1:
            state[name] = noise * (2 / p[0].numel()) ** 0.5
        elif name.endswith("running_var"):
            state[name] = 1 + 0.2 * noise.abs()
        elif name.endswith("weight"):
            state[name] = 1 + 0.1 * noise
        else:
            state[name] = 0.1 * noise
    return state


def make_pictures(folder, n):
    rng = np.random.default_rng(7)
    os.makedirs(os.path.join(folder, "a"))
    for k in range(n):  # something smooth, and noise on it
        coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((256, 256), Image.BICUBIC)
        p = np.clip(np.array(coarse).astype(int) + rng.integers(-20, 21, (256, 256, 3)), 0, 255)
        Image.fromarray(p.astype(np.uint8)).save(os.path.join(folder, "a", f"{k:05}.png"))


class InFloat(torch.nn.Module):
    """numpy has no bf16, which autocast gives."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return [y.float() for y in self.net(x)]


class PytorchFid:
    name, flavour = "pytorch-fid", "inception-torch"

    def __init__(self, weights):
        from pytorch_fid import inception
        state = torch.load(weights)
        inception.load_state_dict_from_url = lambda *a, **k: state
        self.net = InFloat(inception.InceptionV3([3])).eval()

    def run(self, files, batch, workers):
        from pytorch_fid.fid_score import get_activations
        return get_activations(files, self.net, batch, 2048, "cpu", workers)


class TorchFidelity:
    name, flavour = "torch-fidelity", "inception-tf"

    def __init__(self, weights):
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        self.net = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=weights)
        self.net.eval()

    def run(self, files, batch, workers):
        from torch_fidelity.datasets import ImagesPathDataset
        loader = torch.utils.data.DataLoader(ImagesPathDataset(files), batch_size=batch, num_workers=workers)
        with torch.no_grad():
            return np.concatenate([self.net(b)[0].float().numpy() for b in loader])


def torch_side(a):
    """In a process of its own, so that it can run at another priority: prints the seconds of each peer."""
    torch.set_num_threads(a.threads)
    peer = {p.name: p for p in (PytorchFid, TorchFidelity)}[a.peer](a.weights)
    files = sorted(glob.glob(os.path.join(a.folder, "a", "*.png")))
    with torch.autocast("cpu", torch.bfloat16, enabled=a.precision == "bf16"):
        peer.run(files[:EXTRA], EXTRA, 0)
        begin = np.array([time.time(), time.process_time()])
        features = peer.run(files, a.batch, a.loaders)
        seconds = np.array([time.time(), time.process_time()]) - begin
    np.save(a.out, features)
    print(json.dumps(seconds.tolist()))


def now():
    """The time of day, and the processor's time of the programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return np.array([time.time(), used.ru_utime + used.ru_stime])


def finediffusion(a, precision, flavour, folder, weights, out):
    begin = now()
    subprocess.run(a.priority + [a.program, "eval", folder, "--no-classes", "--features", f"{flavour}:{weights}",
                                 "--metrics", "none", "--features-out", out, "--quiet", "--threads", str(a.threads),
                                 "--precision", precision, "--device", "cpu"] + a.options.split(), check=True)
    return now() - begin


def compare(a, work):
    weights, few, many = (os.path.join(work, f) for f in ("inception.pth", "few", "many"))
    torch.save(random_state(), weights)
    make_pictures(few, EXTRA)
    make_pictures(many, a.pictures + EXTRA)
    least, ok = {}, True
    for _ in range(a.rounds):
        for peer in (PytorchFid, TorchFidelity):
            for precision in ("f32", "bf16") if a.precision == "both" else (a.precision,):
                kept, npy = os.path.join(work, "f.safetensors"), os.path.join(work, "f.npy")
                ours = -finediffusion(a, precision, peer.flavour, few, weights, kept)
                ours = (ours + finediffusion(a, precision, peer.flavour, many, weights, kept)) / a.pictures
                words = ["--peer", peer.name, "--weights", weights, "--folder", many, "--out", npy, "--precision", precision,
                         "--threads", str(a.threads), "--batch", str(a.batch), "--loaders", str(a.loaders)]
                run = subprocess.run(a.priority + [sys.executable, __file__] + words, check=True, stdout=subprocess.PIPE)
                theirs = np.array(json.loads(run.stdout.splitlines()[-1])) / (a.pictures + EXTRA)
                got, want = load_file(kept)["features"], np.load(npy)
                error = np.abs(got - want).max() / np.abs(want).max()
                apart = np.abs(want[0] - want[1]).max() / np.abs(want).max()
                ok = ok and error <= (1e-4 if precision == "f32" else 0.05) and apart > 1e-3
                before = least.get((peer.name, precision), (np.inf, np.inf))
                least[peer.name, precision] = (np.minimum(before[0], ours), np.minimum(before[1], theirs))
                print(f"{peer.name} {precision}: largest difference {error:.2e} of the largest feature, pictures "
                      f"{apart:.2g} apart; a picture {ours[0] * 1e3:.1f} ms of ours, {theirs[0] * 1e3:.1f} ms of its own", flush=True)
    for (name, precision), (ours, theirs) in least.items():
        print(f"{name} {precision}: least {ours[0] * 1e3:.1f} ms and {theirs[0] * 1e3:.1f} ms: {theirs[0] / ours[0]:.2f} times; "
              f"of the processor {ours[1] * 1e3:.1f} ms and {theirs[1] * 1e3:.1f} ms: {theirs[1] / ours[1]:.2f} times")
    return ok


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program")
    p.add_argument("--pictures", type=int, default=96)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--batch", type=int, default=32, help="of the peers")
    p.add_argument("--loaders", type=int, default=0, help="processes of the peers that decode (default 0: none)")
    p.add_argument("--precision", default="f32", help="of ours and of the peers: f32, bf16, or both in turn")
    p.add_argument("--options", default="", help="more options of eval, as one text")
    p.add_argument("--realtime", action="store_true")
    for hidden in ("--peer", "--weights", "--folder", "--out"):
        p.add_argument(hidden, help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.peer:
        torch_side(a)
        return 0
    if not a.program:
        p.error("give --program")
    a.priority = ["chrt", "-f", "50"] if a.realtime else []
    with tempfile.TemporaryDirectory() as work:
        return 0 if compare(a, work) else 1


if __name__ == "__main__":
    sys.exit(main())
