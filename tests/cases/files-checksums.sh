# SPDX-License-Identifier: Apache-2.0
# The checksums in a torch file's zip: what differs from one is refused by name. Only a file where all are 0 has
# none, as torch writes it when it is told to leave them out.
needs dd od
M="--model 32,1,2,4"
fresh() { cp "$IN/ckpt/ok.pt" file.pt; }
put() { # PLACE BYTES...: in octal
    at=$1
    shift
    printf "$(printf '\\%s' "$@")" | dd of=file.pt bs=1 seek="$at" conv=notrunc 2>/dev/null
}
refused() {
    rm -f out.safetensors
    ends 1 "$FD" convert file.pt out.safetensors $M
    one_line
    says '^finediffusion: convert: file.pt: .*' "$@" 'damaged'
    absent out.safetensors
}
# where the entries of the directory begin, data.pkl first; the checksum is at 16 of each
entries=$(grep -obUaF "$(printf 'PK\001\002')" "$IN/ckpt/ok.pt" | cut -d: -f1)
holds test "$(echo "$entries" | wc -l)" -gt 20
entry() { echo "$entries" | sed -n "$1p"; }
ends 0 "$FD" convert "$IN/ckpt/ok.pt" right.safetensors $M
# one bit in weights: the numbers of data/3
fresh && put 8000 "$(printf %o $((1 ^ $(od -An -tu1 -j8000 -N1 file.pt))))"
holds test "$(cmp -l "$IN/ckpt/ok.pt" file.pt | wc -l)" -eq 1
refused 'tensor .*checksum'
ends 1 "$FD" sample --base file.pt $M --guide none --steps 2 --device cpu --out pictures
says 'file.pt: .*checksum'
# one bit in the pickle: a letter of a name
at=$(grep -obUaF x_embedder.proj.weight "$IN/ckpt/ok.pt" | head -n 1 | cut -d: -f1)
fresh && put "$at" 171
refused 'data.pkl .*checksum'
# a checksum that is another, or 0, of weights, of the pickle, of the byte order
for value in '1 2 3 4' '0 0 0 0' '377 377 377 377'; do
    fresh && put $(($(entry 8) + 16)) $value && refused 'tensor .*checksum'
    fresh && put $(($(entry 1) + 16)) $value && refused 'data.pkl .*checksum'
    fresh && put $(($(entry 4) + 16)) $value && refused 'byteorder .*checksum'
done
# all but one are 0: that one still counts, and so do the zeros
fresh
for k in $(echo "$entries" | sed '$d'); do put $((k + 16)) 0 0 0 0; done
refused 'checksum'
# all are 0: the file has none
fresh
for k in $entries; do put $((k + 16)) 0 0 0 0; done
ends 0 "$FD" convert file.pt out.safetensors $M
holds cmp out.safetensors right.safetensors
ends 0 "$FD" inspect file.pt $M
# two members of one name, and a second pickle in another folder of the zip, could each be read in two ways
rename() { # FROM TO, of the same length, in the directory and before the member
    for at in $(grep -obUaF "$1" "$IN/ckpt/ok.pt" | cut -d: -f1); do
        printf %s "$2" | dd of=file.pt bs=1 seek="$at" conv=notrunc 2>/dev/null
    done
}
fresh && rename ok/byteorder okx/data.pkl && refused 'two pickles' 'okx/data.pkl'
fresh && rename ok/data/10 ok/data/11 && refused 'ok/data/11 twice'
fresh && rename ok/data/10 ok/data/99 && refused 'ok/data/10 is missing'
