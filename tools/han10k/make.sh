#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Draws Han-10k, a data set of 10,000 classes: tools/han10k/make.sh [OUT [OPTION of han10k.c]...]
#
# OUT (default ./han10k-data) gets train.tar, test.tar, taxonomy.tsv and faces.tsv (with --others N also base.tar and
# base-test.tar), as han10k.c says; table.sh compares ways to fine-tune on it. Needs
# a C compiler, FreeType, fontconfig and libpng with headers, and typefaces: the two Noto packages give
# about 33 pictures a class, those of packages.txt about 60. --install-fonts installs all of them on Debian
# and Ubuntu. Other versions of the typefaces give other pictures: it is for tests of scale.
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
out=${1-han10k-data}
[ $# = 0 ] || shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
# shellcheck disable=SC2046
${CC-cc} -std=c11 -D_GNU_SOURCE -O2 -Wall -Wextra -o "$work/han10k" "$here/han10k.c" \
    $(pkg-config --cflags --libs freetype2 fontconfig libpng)
"$work/han10k" --characters "$here/characters.txt" --out "$out" "$@"
