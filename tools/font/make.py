#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make.py DejaVuSans.ttf >src/picture/font_data.c: the letters of contact sheets, with Pillow.

Only who changes the set of letters needs it. The font is Debian's fonts-dejavu-core 2.37; its licence allows
this use and stands in third_party/README.md. Packed with zlib, numbers little-endian:
    u16 sizes; for each: u8 pixels, u8 ascent, u8 line height, u8 0, u16 glyphs; for each glyph, rising:
        u16 code, u8 advance, i8 left, i8 top (below the ascent), u8 width, u8 height, then rows of 4-bit
        coverage, two pixels a byte, each glyph from a new byte
    u16 compositions; for each, rising by base and mark: u16 base, u16 mark, u16 composed
"""
import struct, sys, unicodedata, zlib
from PIL import Image, ImageDraw, ImageFont

RANGES = [(0x20, 0x7E), (0xA0, 0x24F), (0x259, 0x259), (0x2BC, 0x2BC), (0x2C6, 0x2DD), (0x300, 0x30C), (0x323, 0x328),
          (0x370, 0x3FF), (0x400, 0x45F), (0x48A, 0x4FF), (0x1E00, 0x1EFF), (0x2010, 0x2027), (0x2030, 0x203A),
          (0x20AC, 0x20AC), (0x2116, 0x2116), (0x2122, 0x2122), (0x2190, 0x2193), (0x2020, 0x2022), (0x2212, 0x2212),
          (0x2248, 0x2248), (0x2264, 0x2265), (0x25A1, 0x25A1), (0x2640, 0x2642), (0xFFFD, 0xFFFD)]
path = sys.argv[1]

def has(font, missing, code):
    mask = font.getmask(chr(code), mode="L")
    return bytes(mask) != missing or code in (0x20, 0xA0)

out, codes = bytearray(), []
SIZES = (12, 18)
out += struct.pack("<H", len(SIZES))
for size in SIZES:
    font = ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
    ascent, descent = font.getmetrics()
    missing = bytes(font.getmask("\U000E0000", mode="L"))
    glyphs = []
    for low, high in RANGES:
        for code in range(low, high + 1):
            if unicodedata.category(chr(code)) in ("Cn", "Cc", "Cf") or not has(font, missing, code):
                continue
            glyphs.append(code)
    glyphs = sorted(set(glyphs))
    codes = glyphs
    out += struct.pack("<BBBBH", size, ascent, ascent + descent, 0, len(glyphs))
    for code in glyphs:
        mark = unicodedata.category(chr(code)) == "Mn"
        advance = 0 if mark else round(font.getlength(chr(code)))
        im = Image.new("L", (size * 4, size * 3), 0)
        ImageDraw.Draw(im).text((size * 2, size // 2), chr(code), font=font, fill=255)
        box = im.getbbox() or (size * 2, size // 2, size * 2, size // 2)
        x0, y0, x1, y1 = box
        out += struct.pack("<HBbbBB", code, advance, x0 - size * 2, y0 - size // 2, x1 - x0, y1 - y0)
        pixels = [min(15, (im.getpixel((x, y)) + 8) // 17) for y in range(y0, y1) for x in range(x0, x1)]
        pixels += [0] * (len(pixels) % 2)
        out += bytes(pixels[i] | pixels[i + 1] << 4 for i in range(0, len(pixels), 2))
pairs = []
for code in codes:
    d = unicodedata.normalize("NFD", chr(code))
    if len(d) >= 2 and unicodedata.normalize("NFC", d) == chr(code):
        base = unicodedata.normalize("NFC", d[:-1])
        if len(base) == 1 and ord(d[-1]) < 0x10000:
            pairs.append((ord(base), ord(d[-1]), code))
pairs.sort()
out += struct.pack("<H", len(pairs))
for p in pairs:
    out += struct.pack("<HHH", *p)
packed = zlib.compress(bytes(out), 9)
words = packed + bytes(-len(packed) % 8)
print("/* SPDX-License-Identifier: Apache-2.0 AND Bitstream-Vera\n"
      " * font_data.c: made by tools/font/make.py from DejaVu Sans; see there and third_party/README.md. */\n"
      "#include \"format/font_data.h\"\n\n"
      f"const size_t fdit_font_bytes = {len(out)}, fdit_font_packed = {len(packed)};\n"
      "/* little-endian words */\n"
      f"const uint64_t fdit_font_words[{len(words) // 8}] = {{")
line = "   "
for (w,) in struct.iter_unpack("<Q", words):
    item = f" 0x{w:x}u,"
    if len(line) + len(item) > 108:
        print(line)
        line = "   "
    line += item
print(line)
print("};")
print(f"{len(codes)} glyphs, {len(pairs)} compositions, {len(out)} bytes, {len(packed)} packed", file=sys.stderr)
