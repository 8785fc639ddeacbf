#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Two data sets of the clip art of Debian's package openclipart-png (public domain): tools/clipart/make.sh [OUT]
#
#     OUT/base    some 4,400 pictures of 86 classes: what data/colour.safetensors was trained on
#     OUT/fine    655 pictures of 20 classes in three groups (animals, food, plants), which the base has not seen
#
# OUT (default ./clipart) must not be there. The sets are symbolic links. A class is a folder of the package with its own pictures; at least
# 8, at most some 250 (evenly spread) are taken. Logos and what is not sorted are left out.
# CLIPART (default /usr/share/openclipart/png) is the package's folder; its licence: Creative Commons public domain dedication.
set -eu
case ${1-} in -h | --help) sed -n '3,10s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
out=${1-clipart} from=${CLIPART-/usr/share/openclipart/png}
[ -d "$from" ] || { echo "make.sh: $from is not there; apt-get install openclipart-png, or set CLIPART" >&2; exit 1; }
mkdir "$out"
(cd "$from" && find . -type f -name '*.png' | sed 's#^\./##') | LC_ALL=C sort | awk -F/ '
    {
        folder = $0
        sub(/\/[^\/]*$/, "", folder)
        if ($1 ~ /^(logos|unsorted|special)$/)
            next
        file[folder, ++n[folder]] = $0
    }
    END {
        for (folder in n) {
            if (n[folder] < 8)
                continue
            fine = folder ~ /^(animals|food|plants)(\/|$)/
            class = folder
            gsub(/\//, "+", class)
            if (fine && !sub(/\+/, "/", class)) # animals/mammals+bears; animals/other
                class = class "/other"
            step = n[folder] > 250 ? n[folder] / 250 : 1
            for (i = 1; i <= n[folder]; i += step)
                print (fine ? "fine/" : "base/") class "\t" file[folder, int(i)]
        }
    }' | LC_ALL=C sort | while IFS="$(printf '\t')" read -r class file; do
    mkdir -p "$out/$class"
    ln -s "$from/$file" "$out/$class/"
done
for set in base fine; do
    echo "$out/$set: $(find "$out/$set" -type l | wc -l) pictures of $(find "$out/$set" -type l | sed 's#/[^/]*$##' | sort -u | wc -l) classes"
done
