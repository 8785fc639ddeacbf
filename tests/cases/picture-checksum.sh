# SPDX-License-Identifier: Apache-2.0
# A PNG whose pixels have a wrong checksum is refused by name, or left out and counted: also where they can
# still be unpacked, in one chunk or several, and where only the checksum is wrong.
needs python3
mkdir -p d/a d/b
for i in 0 1; do
    cp "$IN/data/owls/a/$i.png" d/a
    cp "$IN/data/owls/a/$i.png" d/b
done
python3 - d/a/0.png <<'EOF'
import struct, sys, zlib
bytes = open(sys.argv[1], "rb").read()
chunks, at = [], 8
while at < len(bytes):
    n = struct.unpack(">I", bytes[at:at + 4])[0]
    chunks.append((bytes[at + 4:at + 8], bytes[at + 8:at + 8 + n]))
    at += n + 12
pixels = b"".join(d for t, d in chunks if t == b"IDAT")
def write(name, parts, wrong):
    with open(name, "wb") as f:
        f.write(bytes[:8])
        for t, d in [c for c in chunks if c[0] == b"IHDR"] + [(b"IDAT", p) for p in parts] + [(b"IEND", b"")]:
            crc = zlib.crc32(t + d)
            if t == b"IDAT":
                wrong -= 1
                crc ^= wrong == 0
            f.write(struct.pack(">I", len(d)) + t + d + struct.pack(">I", crc))
third = len(pixels) // 3
write("one.png", [pixels], 1)
write("first.png", [pixels[:third], pixels[third:]], 1)
write("last.png", [pixels[:third], pixels[third:2 * third], pixels[2 * third:]], 3)
EOF
E="$FD encode d --size 16 --flip none --device cpu --threads 1 --quiet"
for file in one first last; do
    cp $file.png d/b/0.png
    ends 1 $E $file
    says 'd/b/0.png: the PNG picture of [0-9]+ bytes is damaged \(IDAT: CRC error'
    ends 0 $E $file-skipped --skip-bad
    says 'skipped: d/b/0.png: .*damaged \(IDAT: CRC error'
done
