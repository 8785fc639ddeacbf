# SPDX-License-Identifier: Apache-2.0
# Models of pixels draw with w = 2 and clipped x0 unless told otherwise; odd scales are told or refused.
small_run --data "$IN/data" --steps 2 --out run
S="$FD sample --base run/delta.safetensors --sampler ddim --steps 2 --device cpu --threads 1"
ends 0 $S --out a
says 'guide superclass:.*, w = 2, x0 clipped \(defaults for pixels\)' '^ *device' '^ *model' '^ *pictures +4 of 4' '^ *output +a'
holds grep -q '"clip-x0": true' a/run.json
holds grep -q '"guidance": 2.0' a/run.json
holds $S --out b --quiet --guidance 2 --clip-x0
holds diff -r a b
holds $S --out c --quiet --guidance 4 --no-clip-x0
holds grep -q '"clip-x0": false' c/run.json
ends 2 $S --out d --clip-x0 --no-clip-x0
ends 0 $S --out e --guide none
says 'no guide'
silent 'w = '
for w in 1e9 1001 -1e4; do
    ends 2 $S --out f --guidance $w
    one_line
    says '--guidance'
done
for w in 100 -2; do
    ends 0 $S --out g$w --guidance $w
    says "warning: --guidance $w"
done
ends 2 $S --out f --guidance nan
