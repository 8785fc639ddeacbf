#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Draws the letters again: tools/letters/make.sh [OUT]   (default: ./letters-data)
#
# OUT gets the tars that letters.c describes; data/make-data.sh takes data/letters-*.tar.gz from them.
# Needs a C compiler, FreeType, fontconfig and libpng with headers, and the packages in packages.txt
# (--install-fonts installs those on Debian and Ubuntu). The pictures in the repository were drawn
# with the packages of Debian 12; with other versions of the typefaces they differ a little.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ "${1-}" = --install-fonts ]; then
    shift
    sudo=
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update
    # shellcheck disable=SC2046
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        pkg-config gcc libc6-dev libfreetype-dev libfontconfig-dev libpng-dev \
        $(sed 's/#.*//' "$here/packages.txt")
fi
out=${1-letters-data}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
# shellcheck disable=SC2046
${CC-cc} -std=c11 -D_GNU_SOURCE -O2 -o "$work/letters" "$here/letters.c" \
    $(pkg-config --cflags --libs freetype2 fontconfig libpng) -lm
set --
for folder in opentype truetype; do
    folder=/usr/share/texlive/texmf-dist/fonts/$folder
    [ ! -d "$folder" ] || set -- "$@" --fonts "$folder"
done
"$work/letters" "$@" --families "$here/families.tsv" --list --out "$out" > "$out/faces.tsv"
awk -F'\t' 'NR > 1 { n[$1]++; s[$1] += $3 } END { for (f in n) print f ": " s[f] " pictures, " n[f] " classes" }' \
    "$out/counts.tsv" | sort
