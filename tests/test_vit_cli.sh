#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `eval` with vision transformers: names of results, features and statistics that are kept and reused, weights
# and flavours that must not be mixed.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
. "$source/tests/eval.sh"
fixtures=$source/tests/fixtures/eval

mkdir -p some/a some/b others/a others/b
cp "$fixtures/pic_64x64.png" "$fixtures/pic_320x310.png" some/a
cp "$fixtures/pic_299x120.png" "$fixtures/pic_37x53.png" some/b
cp "$fixtures/pic_37x53.png" "$fixtures/pic_320x310.png" others/a
cp "$fixtures/pic_299x120.png" "$fixtures/pic_64x64.png" others/b
cp -r "$fixtures/dinov2_small" weights
chmod -R u+w weights

# pictures of any size go in whole; a set against itself is at distance 0
good eval some --real others --no-classes --features dinov2:weights --metrics kid,nearest --draws 0 --json --quiet \
    --features-out some.safetensors
equal "distance to the same pictures" "$(value nearest:dinov2)" 0.0
good eval some --real some --no-classes --features dinov2:weights --metrics kid --draws 0 --json --quiet
kid=$(value kid:dinov2)
# features and statistics are reused without the network
good eval some.safetensors --real some.safetensors --metrics kid --draws 0 --json --quiet --no-classes
equal "kid of kept features" "$(value kid:dinov2)" "$kid"
good eval some --features dinov2:weights --metrics none --features-out some.npz --stats-out stats.npz --quiet --threads 1 \
    --batch 1
good eval some.npz --real some.safetensors --metrics kid --draws 0 --json --quiet --no-classes
equal "kid of features made with other batches" "$(value kid:dinov2)" "$kid"
# a set and its own statistics, where there is LAPACK
if "$program" eval some.npz --stats stats.npz --metrics fd --json --quiet >stdout 2>stderr; then
    checks=$((checks + 1))
    awk -v v="$(value fd:dinov2)" 'BEGIN { exit !(v != "" && v < 1e-6 && v > -1e-6) }' || fail "fd is '$(value fd:dinov2)'"
else
    says stderr LAPACK
fi

# another flavour, and other weights, are other features
good eval some --features dinov2-clean:weights --metrics none --features-out clean.safetensors --quiet
bad 2 'has features of dinov2 and' eval clean.safetensors --real some.safetensors --no-classes --metrics kid
bad 2 'has features of dinov2 and' eval clean.safetensors --stats stats.npz --metrics fd
good eval some --features dinov2:"$fixtures/dinov2_reg4_small" --metrics none --features-out reg4.safetensors --quiet
bad 2 'has 48 features a picture and' eval reg4.safetensors --real some.safetensors --no-classes --metrics kid
LC_ALL=C sed 's/"weights":"./"weights":"x/; s/"weights":"x/"weights":"5/' some.safetensors >one.safetensors
LC_ALL=C sed 's/"weights":"./"weights":"x/; s/"weights":"x/"weights":"a/' some.safetensors >two.safetensors
bad 2 'have features of dinov2, but of other weights' eval one.safetensors --real two.safetensors --no-classes --metrics kid
for size in 1 64; do # batches change no bit
    good eval some --features dinov2:weights --metrics none --features-out "batch$size.npz" --batch $size --quiet
done
equal "features of two batches" "$(cksum <batch1.npz)" "$(cksum <batch64.npz)"

# a cache of pixels gives what its pictures give
mkdir -p one/a
cp "$fixtures/pic_64x64.png" one/a
good encode one cache --size 64 --flip none --quiet
for set in one cache; do
    good eval $set --features dinov2:weights --metrics none --features-out "of_$set.npz" --quiet
done
equal "features of a cache" "$(cksum <of_one.npz)" "$(cksum <of_cache.npz)"

# wrong input
bad 2 'give its file, as dinov2:FILE' eval some --features dinov2
bad 1 'is not a DINOv2 network: expected tensors cls_token' eval some --features dinov2:"$source/data/base.safetensors"
bad 1 'give --features dinov2:FILE' eval some --features clip:weights
bad 1 'expected tensors' eval some --features clip:"$source/data/base.safetensors"
mkdir -p grey/a
gzip -dc "$source/data/letters-test.tar.gz" | (cd grey && tar xf - A/mono) || exit 99
# grey pictures are taken as three equal channels, but not beside coloured ones; drawn ones likewise
good eval grey/A --no-classes --features dinov2:weights --metrics none --features-out grey.npz
says stdout "^grey/A: $(find grey/A -name '*.png' | wc -l) pictures, "
good encode grey/A grey-cache --size 24 --channels 1 --flip none --quiet
good eval grey-cache --no-classes --features dinov2:weights --metrics none --features-out grey-cache.npz --quiet
equal "features of a grey cache" "$(cksum <grey-cache.npz)" "$(cksum <grey.npz)"
bad 2 'the pictures of grey/A are grey and those of one in colour' eval grey/A --real one --no-classes --features dinov2:weights
bad 2 'are grey and those of one in colour' eval --base "$source/data/base.safetensors" --classes '#1' --steps 2 \
    --sampler ddim --real one --no-classes --features dinov2:weights
good eval --base "$source/data/base.safetensors" --classes '#1' --per-class 2 --steps 2 --sampler ddim --real grey/A \
    --no-classes --features dinov2:weights --metrics kid --draws 0 --json --quiet
says stdout '"kid:dinov2"'
finish
