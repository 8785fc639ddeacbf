# SPDX-License-Identifier: Apache-2.0
# 16000 x 16000 pixels in 31 kB: read row by row, within --memory; the address space is bounded, too.
ends 0 sh -c 'ulimit -v 700000; exec "$@"' sh "$FD" encode "$IN/pictures/huge" c --size 16 --memory 100M \
    --flip none --device cpu --threads 1
says 'peak memory [0-9.]+ MiB'
peak=$(sed -n 's/.*peak memory \([0-9]*\)[0-9.]* MiB.*/\1/p' err)
holds test "${peak:-999}" -lt 60
ends 0 "$FD" encode "$IN/pictures/huge" p --size 16 --plan --device cpu
prints 'decoding, 2 workers'
# an interlaced one must be held as a whole: refused by name where --memory does not allow that
ends 1 "$FD" encode "$IN/pictures/interlaced" i --size 16 --memory 64M --flip none --device cpu --threads 1
says 'interlaced/a/big.png.*6000 x 6000.*memory.*without interlacing'
one_line
ends 0 "$FD" encode "$IN/pictures/interlaced" i --size 16 --memory 400M --flip none --device cpu --threads 1
