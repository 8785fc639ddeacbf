# SPDX-License-Identifier: Apache-2.0
# Folders whose names look encoded, but were not by us, are classes of their own names.
mkdir -p "d/%2F" "d/%2Fa" "d/a%2F%2Fb" "d/x%2Fy"
for f in d/*; do cp "$IN/data/owls/a/0.png" "$f"; done
ends 0 "$FD" inspect d --classes --ranks none
prints '^%2F' '^%2Fa' '^a%2F%2Fb' '^x/y'
