#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# finediffusion bench: every kind of problem is verified and measured, the JSON has its fields, flops do
# not count recomputation, files can be compared, wrong problems are refused by name.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

# bad CODE WORDS ARGUMENT...: ends with CODE and one line with each of the WORDS (commas between, ~ is a
# space), and prints nothing else.
bad() {
    code=$1 words=$2
    shift 2
    checks=$((checks + 1))
    "$program" bench "$@" >stdout 2>stderr
    got=$?
    [ $got = "$code" ] || fail "exit $got instead of $code: $*" "$(cat stderr)"
    [ "$(messages stderr)" -eq 1 ] && [ ! -s stdout ] || fail "not one line: $*" "$(cat stdout stderr)"
    grep -q '^finediffusion: bench: ' stderr || fail "not 'finediffusion: bench: ...'" "$(cat stderr)"
    each_word "$words" stderr "$*"
}
good() {
    checks=$((checks + 1))
    "$program" bench "$@" >stdout 2>stderr || fail "exit $?: $*" "$(cat stderr)"
}
count() { # count FILE PATTERN N
    checks=$((checks + 1))
    [ "$(grep -ce "$2" "$1")" -eq "$3" ] || fail "not $3 times '$2' in $1:" "$(cat "$1")"
}
# value FILE KEY: of every result, in order.
value() { sed -n "s/^ *\"$2\": *\(.*[^,]\),*\$/\1/p" "$1"; }

# ------------------------------------------------------------------ every kind
tiny="32,2,2,2 b2 size=8 classes=9"
set -- "linear 24x20x36" "linear 6x20x36 b3" "linear_dx 24x20x36" "linear_dw 24x20x36" \
    "attention b2 n9 h3 d8" "attention_backward b2 n9 h3 d8" "block $tiny" "train $tiny" \
    "train full $tiny" "train norm recompute=block $tiny" "train recompute=branches $tiny channels=1" \
    "train activations=bf16 $tiny" \
    "sample $tiny" "train 32,2,2,2 b1 size=8"
good --repetitions 2 --json "$@"
mv stdout all.json
for key in problem device precision weights threads batch seconds_min seconds_median seconds_max \
    repetitions seconds_per_image gflops peak_gflops peak_share gbytes_per_second peak_memory_bytes \
    warmup_seconds verified max_error version commit; do
    count all.json "\"$key\": " $#
done
count all.json '"verified": true' $#
count all.json '"repetitions": 2' $#
count all.json 'null' 0
says all.json '"problem": "train full 32,2,2,2 b2 size=8 classes=9"'
checks=$((checks + 1))
[ "$(head -c 1 all.json)$(tail -n 1 all.json)" = '[]' ] || fail "no JSON array" "$(cat all.json)"
if command -v python3 >/dev/null; then
    checks=$((checks + 1))
    python3 - all.json $# <<'P' || fail "the JSON is not what it should be" "$(cat all.json)"
import json, sys
results = json.load(open(sys.argv[1]))
assert len(results) == int(sys.argv[2])
for r in results:
    assert 0 < r["seconds_min"] <= r["seconds_median"] <= r["seconds_max"], r
    assert 0 <= r["max_error"] <= r["allowed_error"] < 1e-3, r
    assert abs(r["seconds_per_image"] * r["batch"] / r["seconds_min"] - 1) < 1e-4, r
    assert abs(r["gflops"] * r["seconds_min"] * 1e9 / r["flops"] - 1) < 1e-4, r
    assert r["gbytes_per_second"] > 0 and r["peak_memory_bytes"] > 0 and r["warmup_seconds"] > 0, r
by = {r["problem"]: r["flops"] for r in results}
assert by["linear 24x20x36"] == by["linear_dx 24x20x36"] == by["linear_dw 24x20x36"] == 2 * 24 * 20 * 36
assert by["attention b2 n9 h3 d8"] == 2 * 4 * 9 * 9 * 24
assert by["attention_backward b2 n9 h3 d8"] == 2 * 8 * 9 * 9 * 24
P
fi

# With an adapter: compared with the reference, and more work than without one.
good --repetitions 1 --json "sample lora:3 $tiny" "sample $tiny"
count stdout '"verified": true' 2
checks=$((checks + 1))
set -- $(value stdout flops | tr '\n' ' ')
[ "$1" -gt "$2" ] || fail "an adapter adds no flops: $1, $2"

# Recomputation is not counted: the same flops whatever is kept. And the sum by hand: products of the
# forward pass, dX of all that have one (not the patches, not the first time layer), attention thrice.
good --repetitions 1 --json --no-verify "train $tiny" "train recompute=block $tiny" \
    "train recompute=branches $tiny" "block $tiny" "block recompute=block $tiny" "sample $tiny"
count stdout '"verified": false' 6
n=16 d=32 patch=16 head=32
attention=$((4 * n * n * d)) block=$((2 * n * 12 * d * d + 12 * d * d))
ends=$((2 * (n * d * patch + n * d * head + 256 * d + d * d + 2 * d * d)))
dx=$((2 * (n * d * head + d * d + 2 * d * d)))
one=$((2 * (2 * (2 * block + 3 * attention) + ends + dx)))
block=$((2 * (2 * block + 3 * attention)))
sample=$((2 * 2 * (2 * (2 * n * 12 * d * d + 12 * d * d + attention) + ends)))
checks=$((checks + 1))
got=$(value stdout flops | tr '\n' ' ')
want=$(for i in $one $one $one $block $block $sample; do echo "$i"; done | tr '\n' ' ')
[ "$got" = "$want" ] || fail "flops $got" "should be $want"

# ------------------------------------------------------------------ people, profile, chart
good "linear 24x20x36" "train $tiny" --profile --repetitions 1 --chart chart.svg
says stdout '^problem  *min  *median'
says stdout '^linear 24x20x36 .* GFLOP/s\|^linear 24x20x36 .*e-0'
count stdout '    time: gemm [0-9.]* %, attention [0-9.]* %, norm [0-9.]* %, rest [0-9.]* %' 2
says chart.svg '^<svg xmlns='
says chart.svg 'train 32,2,2,2 b2'
good "linear 24x20x36" --profile --repetitions 1 --json --quiet
says stdout '"linear": {'
checks=$((checks + 1))
[ ! -s stderr ] || fail "--quiet, but:" "$(cat stderr)"
"$program" bench "linear 24x20x36" --json --threads 1 --repetitions 1 >one.json 2>stderr
says one.json '"threads": 1'
good --compare all.json one.json --chart 'a & b.svg'
says stdout '^linear 24x20x36'
says stdout '^  one  '
says stdout '^times: .* all'
says 'a & b.svg' '>one</text>'
if command -v python3 >/dev/null; then
    checks=$((checks + 1))
    python3 -c 'import sys, xml.dom.minidom as x
for f in sys.argv[1:]: x.parse(f)' chart.svg 'a & b.svg' || fail "a chart is not XML"
fi

# PNG: our own reader decodes it, it is as large as the SVG, and bars lie where the SVG says.
is_chart() { # is_chart PNG SVG
    size=$(sed -n '1s/.* width="\([0-9]*\)" height="\([0-9]*\)".*/\1x\2/p' "$2")
    rm -rf look && mkdir -p look/class && cp "$1" look/class/chart.png
    checks=$((checks + 1))
    "$program" inspect --pictures look >inspected 2>&1 || fail "$1 is not read" "$(cat inspected)"
    says inspected "^  sizes  *$size to $size"
    says inspected '^  pictures  *1$'
    command -v python3 >/dev/null || return 0
    checks=$((checks + 1))
    python3 - "$1" "$2" <<'P' || fail "$1 is not what $2 shows"
import re, struct, sys, zlib
data, at, packed = open(sys.argv[1], "rb").read(), 8, b""
while at < len(data):
    n, kind = struct.unpack(">I4s", data[at:at + 8])
    if kind == b"IHDR":
        width, height, bits, colours = struct.unpack(">IIBB", data[at + 8:at + 18])
        assert (bits, colours) == (8, 2)
    if kind == b"IDAT":
        packed += data[at + 8:at + 8 + n]
    at += 12 + n
raw, rows, line = zlib.decompress(packed), [], bytearray(3 * width)
for y in range(height):
    start, above = y * (3 * width + 1), line
    kind, line = raw[start], bytearray(raw[start + 1:start + 1 + 3 * width])
    for i in range(3 * width):
        a, c = (line[i - 3], above[i - 3]) if i >= 3 else (0, 0)
        b = above[i]
        nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
        line[i] = line[i] + [0, a, b, (a + b) // 2, nearest][kind] & 255
    rows.append(line)
boxes = re.findall(r'<rect x="(\d+)" y="(\d+)" width="([\d.]+)" height="(\d+)" fill="#(\w+)"',
                   open(sys.argv[2]).read())
assert len(boxes) >= 3
for x, y, w, h, colour in boxes[1:]:
    for px, py in (int(x), int(y)), (int(x) + int(float(w)) - 1, int(y) + int(h) - 1):
        assert rows[py][3 * px:3 * px + 3].hex() == colour, (px, py, colour)
P
}
good --compare all.json one.json --chart both.PNG
is_chart both.PNG 'a & b.svg'
good "linear 24x20x36" --repetitions 1 --no-verify --json --chart run.png
mv stdout finediffusion.json
says stderr '^wrote run.png$'
good --compare finediffusion.json --chart run.svg
is_chart run.png run.svg
good --compare all.json one.json --json
says stdout '"file": "one"'

good --repetitions 1 --json "vae encode 16"
says stdout '"problem": "vae encode 16"'
says stdout '"verified": true'

# ------------------------------------------------------------------ refused
bad 2 "'nonsense',linear,attention_backward,block,sample~and~vae" "nonsense 3"
bad 2 "vae~takes~encode~or~decode" "vae"
bad 2 "'252',multiple~of~8" "vae encode 252"
bad 2 "'b2',multiple~of~8" "vae decode 256 b2"
bad 2 "without~words" " "
bad 2 "MxNxK" linear
bad 2 "'12x13',MxNxK" "linear 12x13"
bad 2 "'0x1x2',MxNxK" "linear 0x1x2"
bad 2 "'1x2x99999999999',MxNxK" "linear 1x2x99999999999"
bad 2 "7~rows,2~samples" "linear 7x8x9 b2"
bad 2 "size~is~missing,n256" "attention b2 n256 h16"
bad 2 "'d129',d72" "attention b2 n256 h16 d129"
bad 2 "model~is~missing,DiT-XL/2" "train b2"
bad 2 "DiT-Q/2,DiT-XL/2" "train DiT-Q/2 b2"
bad 2 "'lora:0',finediffusion" "train lora:0 DiT-S/2"
bad 2 "'recompute=all',recompute=none" "train DiT-S/2 recompute=all"
bad 2 'leave one out' "train DiT-S/2 recompute=block activations=bf16"
bad 2 "'full',size=64" "sample full DiT-S/2"
bad 2 "33,patch" "train DiT-S/2 size=33"
bad 2 "--repetitions~-1" --repetitions -1 "linear 24x20x36"
bad 2 "--compare,bench~--json" --compare
bad 1 "none.json" --compare none.json
printf '[{"problem": "linear 24x20x36"}]' >short.json
bad 1 "short.json,result~1,seconds_min" --compare all.json short.json
printf '{}' >object.json
bad 1 "object.json,array" --compare object.json
bad 1 "TiB,smaller" "linear 16000000x16000000x2" --quiet
for name in picture.gif picture.jpg png chart.png.txt; do
    bad 2 "$name,.svg~or~.png" --quiet --compare one.json --chart $name
    bad 2 "$name,.svg~or~.png" "linear 16000000x16000000x2" --chart $name # before any work
done
bad 2 "no/such" --quiet --compare one.json --chart no/such/folder.svg
bad 2 "no/such" --quiet --compare one.json --chart no/such/folder.png

finish
