# SPDX-License-Identifier: Apache-2.0
# What is given as a text and is a device, has no end, is gigabytes long or no text at all: refused by name before it
# is read, as a file and through a pipe.
cp -R "$IN/data" d
cp "$IN/ckpt/ok.pt" "$IN/data/gulls/a/0.png" .
truncate -s 3G zeros
{ printf 'class\tgenus\n' && dd if=zeros bs=1M count=1 2>/dev/null | tr '\0' x; } >long.tsv
truncate -s 400M long.tsv
(i=0; while [ $i -lt 600 ]; do i=$((i + 1)); echo "class $i"; done) | head -c 5000 >lines
{ cat lines && head -c 5000 zeros; } >later.txt
B="$FDIT_SRCDIR/data/base.safetensors"
sampled() { "$FD" sample --base "$B" --sampler ddim --steps 2 --device cpu --threads 1 --quiet --out p "$@"; }
# refused WORDS COMMAND...: by name, in a moment, without memory for it
refused() {
    words=$1
    shift
    ends 1 sh -c 'ulimit -v 600000; exec "$@"' sh "$@"
    one_line
    says "$words"
}
for file in /dev/zero /dev/null /dev/urandom; do
    [ -c $file ] || continue
    refused "inspect: $file: is a device or a socket, where a file or a pipe is needed" "$FD" inspect d --taxonomy $file
    refused "train: $file: is a device" "$FD" train --config $file
    refused "bench: $file: is a device" "$FD" bench --compare $file
    refused "convert: $file: is a pipe, socket or device, not a file of weights" "$FD" convert $file o.safetensors
    refused "train: $file: is a pipe, socket or device, not a data set" "$FD" train --from-scratch --tune full \
        --model 32,1,2,4 --size 16 --channels 3 --steps 1 --out r --data $file
    ends 1 sampled --classes "@$file"
    says "sample: --classes: $file: is a device" && one_line
    ends 1 sampled --counts $file
    says "sample: --counts: $file: is a device" && one_line
done
for file in zeros:'nothing but zero bytes' ok.pt:'a torch file' 0.png:'a PNG picture'; do
    name=${file%%:*} what=${file#*:}
    for read in "" pipe; do
        if [ "$read" ]; then
            [ -e /dev/fd/0 ] || continue
            piped() { cat $name 2>/dev/null | "$FD" "$@"; }
            ends 1 piped inspect d --taxonomy /dev/fd/0
            says "inspect: /dev/fd/0: is $what.*, not a taxonomy"
            ends 1 piped train --config /dev/fd/0
            says "train: /dev/fd/0: is $what.*, not the options of a run .JSON."
        else
            refused "inspect: $name: is $what.*, not a taxonomy" "$FD" inspect d --taxonomy $name
            refused "train: $name: is $what.*, not the options of a run .JSON." "$FD" train --config $name
            refused "bench: $name: is $what.*, not JSON" "$FD" bench --compare $name
            ends 1 sampled --classes @$name
            says "sample: --classes: $name: is $what.*, not a list of classes; "
            ends 1 sampled --counts $name
            says "sample: --counts: $name: is $what.*, not a list of classes and counts; "
        fi
    done
done
refused 'inspect: long.tsv: has 419430400 bytes, at most 268435456 are allowed here' "$FD" inspect d --taxonomy long.tsv
ends 1 "$FD" inspect d --taxonomy later.txt
says 'later.txt: a zero byte at byte 5000: is not text'
# a pipe as long as one likes
[ -e /dev/fd/0 ] || leave "the rest needs /dev/fd"
endless() { yes 'a class' | "$FD" "$@"; }
ends 1 endless inspect d --taxonomy /dev/fd/0
says 'inspect: /dev/fd/0: has more than the 268435456 bytes'
given() { printf '%s\n' class 'gulls/a' 'gulls/b' 'owls/a' 'owls/b' | "$FD" "$@"; }
ends 0 given inspect d --taxonomy /dev/fd/0
absent r p o.safetensors
