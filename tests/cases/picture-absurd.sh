# SPDX-License-Identifier: Apache-2.0
# Headers that claim what the bytes cannot hold, and pictures too narrow for the size: refused by name, at once.
ends 1 "$FD" inspect --pictures "$IN/pictures/absurd"
says 'absurd/a/line.png.*cannot hold 268435456 x 1' 'absurd/a/rows.png.*cannot hold' \
    'absurd/a/scans.jpg.*(cannot hold 16384 x 16384|cut off|damaged|built without)'
ends 1 "$FD" encode "$IN/pictures/narrow" c --size 512 --flip none --device cpu
says 'narrow/a/strip.png: a picture of 4000000 x 1 is too narrow'
ends 0 "$FD" encode "$IN/pictures/narrow" d --size 16 --flip none --device cpu --quiet
