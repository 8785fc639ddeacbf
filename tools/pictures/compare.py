#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our pictures against Pillow's, over a few hundred generated files of all kinds.

    make -C build tools/pictures/crop
    python3 -m venv venv && venv/bin/pip install 'pillow<12.2' numpy
    venv/bin/python tools/pictures/compare.py --crop build/tools/pictures/crop [--seed N] [--count N]

PNG of every colour type, bit depth and interlacing with and without transparency; JPEG grey, colour and
CMYK, baseline and progressive, every subsampling, restart intervals, turned by EXIF; WebP lossy,
lossless, transparent, animated. Every file becomes a square as training makes it, by us and by Pillow.
PNG and WebP lossless must be equal to the last bit. Lossy formats are compared as well: two versions of
a decoder may round differently. Pillow 12.2 rounds in its filter otherwise than all versions before, up
to 1 off: take one before it. Of 16-bit grey Pillow saturates, we take the high byte: there the
reference is made from the samples. Exit status 1 when a picture differs."""
import argparse
import io
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import zlib

import numpy as np
import PIL
from PIL import Image, ImageFile

ImageFile.MAXBLOCK = 1 << 24  # or Pillow cannot write some of them
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples, colour, depth, interlaced, palette=None, transparent=None):
    """samples [h, w, channels], each below 2 ** depth."""
    def rows(part):
        out = b""
        for row in part:
            flat = row.reshape(-1)
            if depth == 16:
                data = flat.astype(">u2").tobytes()
            elif depth == 8:
                data = flat.astype(np.uint8).tobytes()
            else:
                bits = ((flat[:, None] >> np.arange(depth - 1, -1, -1)) & 1).reshape(-1)
                data = np.packbits(bits.astype(np.uint8)).tobytes()
            out += b"\0" + data
        return out
    h, w = samples.shape[:2]
    parts = [samples[y::dy, x::dx] for x, y, dx, dy in ADAM7] if interlaced else [samples]
    raw = b"".join(rows(p) for p in parts if p.size)
    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0,
                                                           int(interlaced)))
    if palette is not None:
        out += chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    if transparent is not None:
        out += chunk(b"tRNS", transparent)
    return out + chunk(b"IDAT", zlib.compress(raw, 1)) + chunk(b"IEND", b"")


def smooth(rng, h, w, c):
    y, x = np.mgrid[:h, :w]
    out = np.zeros((h, w, c))
    for i in range(c):
        for _ in range(4):
            fx, fy, p = rng.uniform(-.3, .3), rng.uniform(-.3, .3), rng.uniform(0, 6)
            out[..., i] += rng.uniform(10, 45) * np.sin(fx * x + fy * y + p)
    return np.clip(out + 128 + rng.normal(0, rng.choice([0, 4, 40]), out.shape), 0, 255)


def size_of(pick):
    kind = pick.random()
    if kind < 0.1:
        return pick.randint(1, 9), pick.randint(1, 9)
    if kind < 0.2:
        return pick.choice([(1, 400), (700, 2), (3, 333), (1200, 16)])
    if kind < 0.3:
        side = pick.choice([16, 32, 64, 128, 256, 512])
        return side, side * pick.choice([1, 2])
    return pick.randint(10, 900), pick.randint(10, 700)


def make_png(pick, rng):
    colour = pick.choice([0, 2, 3, 4, 6])
    depth = pick.choice({0: [1, 2, 4, 8, 16], 3: [1, 2, 4, 8]}.get(colour, [8, 16]))
    w, h = size_of(pick)
    c = CHANNELS[colour]
    interlaced = pick.random() < 0.35
    palette = transparent = None
    samples = smooth(rng, h, w, c) / 256 * 2 ** depth
    if depth == 16:
        samples = samples + rng.uniform(0, 256, samples.shape)
    samples = np.clip(samples, 0, 2 ** depth - 1).astype(np.int64)
    if colour == 3:
        palette = rng.integers(0, 256, (2 ** depth, 3))
        if pick.random() < 0.4:
            transparent = bytes(pick.randrange(256) for _ in range(2 ** depth))
    elif colour in (0, 2) and pick.random() < 0.3:
        transparent = b"".join(struct.pack(">H", int(v)) for v in samples[0, 0, :c])
    data = png(samples, colour, depth, interlaced, palette, transparent)
    name = f"png-colour{colour}-depth{depth}{'-interlaced' if interlaced else ''}" \
           f"{'-transparent' if transparent else ''}"
    reference = None
    if colour == 0 and depth == 16:
        reference = Image.fromarray((samples[..., 0] >> 8).astype(np.uint8)).convert("RGB")
    return name + ".png", data, reference, True


def make_jpeg(pick, rng):
    w, h = size_of(pick)
    mode = pick.choice(["L", "RGB", "RGB", "RGB", "CMYK"])
    c = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    x = smooth(rng, h, w, c).astype(np.uint8)
    picture = Image.fromarray(x[..., 0] if c == 1 else x, mode)
    options = {"quality": pick.choice([30, 75, 90, 97]), "progressive": pick.random() < 0.4,
               "optimize": pick.random() < 0.5}
    if mode == "RGB":
        options["subsampling"] = pick.choice([0, 1, 2])
    if pick.random() < 0.3:
        options["restart_marker_blocks"] = pick.choice([1, 4])
    turned = pick.random() < 0.3
    if turned:
        exif = Image.Exif()
        exif[0x112] = pick.randint(2, 8)
        options["exif"] = exif
    out = io.BytesIO()
    picture.save(out, "JPEG", **options)
    name = f"jpeg-{mode}{'-progressive' if options['progressive'] else ''}{'-turned' if turned else ''}"
    return name + ".jpg", out.getvalue(), None, False


def make_webp(pick, rng):
    w, h = size_of(pick)
    alpha, lossless, animated = pick.random() < 0.4, pick.random() < 0.5, pick.random() < 0.3
    frames = [Image.fromarray(smooth(rng, h, w, 4 if alpha else 3).astype(np.uint8))
              for _ in range(3 if animated else 1)]
    out = io.BytesIO()
    frames[0].save(out, "WEBP", lossless=lossless, quality=80, exact=True, save_all=animated,
                   append_images=frames[1:])
    name = f"webp-{'lossless' if lossless else 'lossy'}{'-alpha' if alpha else ''}" \
           f"{'-animated' if animated else ''}"
    return name + ".webp", out.getvalue(), None, lossless


def crop(picture, size):
    while min(picture.size) >= 2 * size:
        picture = picture.resize(tuple(x // 2 for x in picture.size), resample=Image.Resampling.BOX)
    scale = size / min(picture.size)
    picture = picture.resize(tuple(round(x * scale) for x in picture.size),
                             resample=Image.Resampling.BICUBIC)
    x, y = (picture.size[0] - size) // 2, (picture.size[1] - size) // 2
    return np.array(picture.crop((x, y, x + size, y + size)))


def pad(picture, size):
    """The long side to size by the same steps, the middle of a square; the edge's mean around it."""
    def at_least_1(x):
        return max(1, x)
    while max(picture.size) >= 2 * size:
        picture = picture.resize(tuple(at_least_1(x // 2) for x in picture.size),
                                 resample=Image.Resampling.BOX)
    scale = size / max(picture.size)
    picture = picture.resize(tuple(at_least_1(round(x * scale)) for x in picture.size),
                             resample=Image.Resampling.BICUBIC)
    a = np.array(picture).astype(np.int64)
    h, w = a.shape[:2]
    edge = np.ones((h, w), bool)
    edge[1:-1, 1:-1] = False
    n = int(edge.sum())
    out = np.empty((size, size, 3), np.uint8)
    out[:] = (a[edge].sum(0) + n // 2) // n
    y, x = (size - h) // 2, (size - w) // 2
    out[y:y + h, x:x + w] = a
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--crop", required=True, help="tools/pictures/crop of the build folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--keep", help="folder for the pictures")
    args = parser.parse_args()
    pick, rng = random.Random(args.seed), np.random.default_rng(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(args.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        cases = []
        for i in range(args.count):
            make = pick.choices([make_png, make_jpeg, make_webp], [3, 2, 1])[0]
            name, data, reference, exact = make(pick, rng)
            path = folder / f"{i:04d}-{name}"
            path.write_bytes(data)
            cases.append((path, pick.choice([8, 16, 24, 32, 64, 100, 128, 256]),
                          pick.choice(["crop", "crop", "crop", "pad"]), reference, exact))
        lines = "".join(f"{size} {fit} {path}\n" for path, size, fit, _, _ in cases)
        output = io.BytesIO(subprocess.run([args.crop], input=lines.encode(), check=True,
                                           stdout=subprocess.PIPE).stdout)
        kinds, failures = {}, 0
        for path, size, fit, reference, exact in cases:
            answer = output.readline().decode().strip()
            whole = reference or Image.open(path).convert("RGB")
            too_narrow = fit == "crop" and max(whole.size) * size > min(whole.size) * 2 ** 28
            kind = path.name[5:].split(".")[0].split("-")
            kind = kind[0] + ("-" + kind[1] if kind[0] != "png" else "")
            equal, n, worst = kinds.get(kind, (0, 0, 0))
            if answer != "ok":
                print(f"{path.name}: {answer}")
                failures += not too_narrow
                continue
            ours = np.frombuffer(output.read(size * size * 3), np.uint8).reshape(size, size, 3)
            want = (crop if fit == "crop" else pad)(whole, size)
            off = int(np.abs(ours.astype(int) - want.astype(int)).max())
            if off and exact:
                failures += 1
                print(f"{path.name}: {fit} {size}: off by {off}")
            kinds[kind] = (equal + (off == 0), n + 1, max(worst, off))
    print(f"Pillow {PIL.__version__}, seed {args.seed}")
    for kind, (equal, n, worst) in sorted(kinds.items()):
        print(f"  {kind:14} {equal} of {n} equal to the last bit, largest difference {worst}")
    sys.exit(1 if failures else 0)


main()
