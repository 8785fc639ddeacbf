#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `eval` through networks in files: FID, sFID and LPIPS by name, features of one way to resize and another, wrong files.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
. "$source/tests/eval.sh"
fixtures=$source/tests/fixtures/eval
net=$fixtures/inception_small.pth
alex=$fixtures/lpips_alex_backbone_small.pth

# near WHAT NUMBER WANTED SHARE
near() {
    checks=$((checks + 1))
    awk -v v="$2" -v w="$3" -v s="$4" 'BEGIN { d = v - w; d = d < 0 ? -d : d; exit !(v != "" && d <= s * w) }' ||
        fail "$1 is '$2', not $3"
}

mkdir -p gen/a gen/b real/a real/b
cp "$fixtures/class_pic0.png" "$fixtures/class_pic1.png" gen/a
cp "$fixtures/class_pic2.png" "$fixtures/class_pic3.png" "$fixtures/pic_64x64.png" gen/b
cp "$fixtures/class_pic1.png" "$fixtures/class_pic2.png" real/a
cp "$fixtures/class_pic0.png" "$fixtures/pic_37x53.png" real/b

# the mean over classes of what their pairs are apart; the two pictures of a as in the fixtures
good eval gen --real real --features "inception-clean:$net" --metrics kid \
    --lpips "$alex,$fixtures/lpips_alex_small.pth" --draws 0 --json --quiet --by-class classes.tsv \
    --features-out clean.safetensors
checks=$((checks + 1))
[ -n "$(value kid:inception-clean)" ] || fail "no KID of these features" "$(cat stdout)"
column=$(head -n 1 classes.tsv | tr '\t' '\n' | grep -n '^lpips$' | cut -d : -f 1)
a=$(sed -n 's/^a	/&/p' classes.tsv | cut -f "${column:-1}") b=$(sed -n 's/^b	/&/p' classes.tsv | cut -f "${column:-1}")
near "LPIPS of all" "$(value lpips:alex)" "$(awk -v a="$a" -v b="$b" 'BEGIN { printf "%.9g", (a + b) / 2 }')" 1e-4

# the flavour stands in the name; features of another are not compared
good eval gen --real gen --features "spatial-tf:$net" --draws 0 --json --quiet --metrics kid --no-classes
says stdout '"kid:spatial-tf"'
bad 2 'of inception-tf and clean.safetensors of inception-clean; take the same' eval clean.safetensors --real real --features "inception-tf:$net"

if "$program" eval gen --real gen --features "inception-torch:$net" --metrics fd --draws 0 --json --quiet \
    >stdout 2>stderr; then
    checks=$((checks + 1))
    [ "$(value fid:torch)" = 0.0 ] || fail "FID of a set and itself is '$(value fid:torch)'" "$(cat stdout)"
else # built without LAPACK
    says stderr 'LAPACK'
fi

# FID and sFID of one pass, beside statistics as ADM's suite keeps them; sFID alone from features kept one by one
good eval real --features "inception-tf:$net" --metrics none --stats-out adm.npz --quiet
has "statistics" adm.npz sigma_s.npy
if "$program" eval gen --stats adm.npz --features "inception-tf:$net" --metrics fd,sfid --draws 0 --json --quiet \
    >stdout 2>stderr; then
    fid=$(value fid:tf) sfid=$(value sfid:tf)
    good eval gen --real real --features "spatial-tf:$net" --metrics fd,kid --draws 0 --json --quiet # kid: kept one by one
    near "sFID of the same pass" "$sfid" "$(value sfid:tf)" 1e-4
    good eval gen --real real --features "inception-tf:$net" --metrics fd --draws 0 --json --quiet
    near "FID of the same pass" "$fid" "$(value fid:tf)" 1e-4
    bad 2 'no features that keep places' eval gen --real real --metrics sfid --features "spatial-tf:$net"
else # built without LAPACK
    says stderr 'LAPACK'
fi
bad 2 'needs real pictures' eval gen --metrics sfid --features "inception-tf:$net"

# wrong files
bad 1 'not the Inception of FID' eval gen --real real --features "inception-tf:$alex"
bad 2 'give its file, as inception-tf:FILE' eval gen --real real --features inception-tf
bad 1 'the heads of LPIPS' eval gen --features "inception-tf:$net" --metrics none --lpips "$alex"
bad 1 'not a network of LPIPS' eval gen --features "inception-tf:$net" --metrics none --lpips "$net"
bad 2 '--lpips FILE[,HEADS]' eval gen --metrics lpips
mkdir tiny && gzip -dc "$source/data/letters-test.tar.gz" | (cd tiny && tar xf - A/mono B/mono) || exit 99
bad 2 'pictures of 24 pixels are too small for' eval tiny --metrics none --lpips "$alex,$fixtures/lpips_alex_small.pth"
bad 2 'is a file of features' eval clean.safetensors --lpips "$alex"
bad 2 'give one of the two' eval gen --lpips "$alex" --no-classes
finish
