#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A tree of `make install` that was moved finds its data where they lie from the program, whatever the machine has
# elsewhere; FINEDIFFUSION_DATA decides where it is set.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
unset FINEDIFFUSION_DATA

checks=$((checks + 1))
make -s -C "$(dirname "$program")" install-binPROGRAMS install-nobase_dist_pkgdataDATA DESTDIR="$work/staged" >make.out 2>&1 || {
    fail "make install" "$(tail -n 5 make.out)"
    finish
}
mkdir -p away/other && mv staged "away/other/a tree" || exit 99
program=$(find "$work/away" -name finediffusion -type f)
case $program in
*/bin/finediffusion) ;;
*) fail "the program is not in bin: $program" ;;
esac
data=$(find "$work/away" -type d -name data)
mkdir here && cd here || exit 99
good demo --seconds 1 --per-class 1 --quiet
checks=$((checks + 1))
[ -s demo.png ] || fail "no picture of the moved tree's demo"
# by a link, as one puts it into a folder of PATH
ln -s "$program" ../link
program=$work/link
cp "$data/judge.safetensors" ../kept
echo text >"$data/judge.safetensors"
refused judge.safetensors demo --seconds 1 --per-class 1 --quiet
says stderr 'a tree/.*/judge\.safetensors'
cp ../kept "$data/judge.safetensors"
# the folder that is named, and no other
mkdir empty
FINEDIFFUSION_DATA=empty
export FINEDIFFUSION_DATA
refused "base.safetensors,not~in~empty" demo --seconds 1 --per-class 1 --quiet
FINEDIFFUSION_DATA=$data
good demo --seconds 1 --per-class 1 --quiet
finish
