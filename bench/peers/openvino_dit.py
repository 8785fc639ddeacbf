#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The problem `sample` of `finediffusion bench` by OpenVINO: the model of torch_dit.py, converted.

    openvino_dit.py 'sample DiT-S/2 b4' --json > openvino.json
    openvino_dit.py 'sample DiT-XL/2 b1' --precision bf16 --threads 2

OpenVINO only infers, so there is no `train`. The guidance and the update of the picture are the few lines of
torch_dit.py around the network. The shapes are fixed before compiling, and the hint is latency: both are
what its manual advises for this. Needs openvino 2024 or later and PyTorch 2."""
import argparse
import gc
import sys
import time

import openvino as ov
import torch

import report
import torch_dit
from problem import Problem


def compiled(p, args):
    """A function like DiT.forward. The PyTorch model does not outlive this."""
    model = torch_dit.DiT(p)
    torch_dit.randomise(model)
    model.forward = model.network  # OpenVINO would compute the phases, up to 999, in bf16
    n = 2 * p.batch
    example = (torch.randn(n, p.channels, p.size, p.size), torch_dit.time_features(torch.full((n,), 999)),
               torch.zeros(n, dtype=torch.int64))
    with torch.no_grad():
        converted = ov.convert_model(model.eval(), example_input=example,
                                     input=[tuple(x.shape) for x in example])
        expected = model(*example) if args.verify else None
    del model
    gc.collect()
    compiled_model = ov.Core().compile_model(converted, "CPU", {
        "INFERENCE_PRECISION_HINT": args.precision, "PERFORMANCE_HINT": "LATENCY",
        **({"INFERENCE_NUM_THREADS": args.threads} if args.threads else {})})
    request = compiled_model.create_infer_request()

    def network_of(*inputs):
        return torch.from_numpy(request.infer([x.numpy() for x in inputs])[0])

    def forward(x, t, rows):
        return network_of(x, torch_dit.time_features(t), rows)
    if args.verify:
        error = ((network_of(*example) - expected).norm() / expected.norm()).item()
        print(f"{p.text}: {error:.2g} from PyTorch", file=sys.stderr)
        if not error < (1e-4 if args.precision == "f32" else 0.05):
            raise SystemExit("openvino_dit.py: the converted model computes something else")
    return forward, compiled_model.get_property("INFERENCE_NUM_THREADS")


def measure(text, args):
    p = Problem(text)
    if p.kind != "sample":
        raise SystemExit(f"'{text}': OpenVINO does not train")
    torch.manual_seed(1)
    began = time.perf_counter()
    forward, threads = compiled(p, args)
    step = torch_dit.make_sample(p, forward, argparse.Namespace(device="cpu", autocast=None, compile=False))
    step()
    step()
    warm = time.perf_counter() - began
    return report.result(p, step, args, device=f"OpenVINO {ov.get_version()} on the CPU", driver="oneDNN",
                         precision=args.precision, weights=args.precision, threads=threads,
                         warmup_seconds=warm, version=ov.get_version())


def main():
    parser = report.options(__doc__, "'sample DiT-S/2 b4'", "default: OpenVINO's own choice")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--no-verify", dest="verify", action="store_false",
                        help="do not compare the converted model with PyTorch's first")
    args = parser.parse_args()
    report.show([measure(text, args) for text in args.problems], args.json)


if __name__ == "__main__":
    main()
