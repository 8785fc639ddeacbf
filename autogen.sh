#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes ./configure from configure.ac. Needed in a git checkout, not in a release tarball.
set -e
cd "$(dirname "$0")"
for tool in autoreconf libtoolize pkg-config; do
    if ! command -v $tool >/dev/null 2>&1; then
        echo "autogen.sh: $tool not found; install autoconf, automake, libtool and pkg-config" >&2
        echo "autogen.sh: (third_party/install.sh does that on Debian, Ubuntu and Fedora)" >&2
        exit 1
    fi
done
mkdir -p m4
autoreconf --install --force
echo "next: ./configure   (or mkdir build && cd build && ../configure)"
