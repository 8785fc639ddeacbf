# SPDX-License-Identifier: Apache-2.0
# What is unpacked into a TMPDIR that lies in memory is within --memory; on a disk it is not part of it.
needs stat mktemp
[ "$(stat -f -c %T /dev/shm 2>/dev/null)" = tmpfs ] && [ -w /dev/shm ] || leave "/dev/shm is not a tmpfs"
gzip -c "$IN/tars/plain.tar" >a.tar.gz
ends 1 env TMPDIR=/dev/shm "$FD" encode --pixels --size 16 --memory 1K a.tar.gz in-memory
says 'a.tar.gz: [0-9]+ bytes are unpacked into TMPDIR, which lies in memory' 'set TMPDIR to a folder on a disk'
one_line
absent in-memory
ends 0 env TMPDIR="$PWD" "$FD" encode --pixels --size 16 --memory 1K a.tar.gz on-disk
ends 0 env TMPDIR=/dev/shm "$FD" encode --pixels --size 16 --memory 100M a.tar.gz in-memory
ends 0 env TMPDIR=/dev/shm "$FD" encode --pixels --size 16 a.tar.gz unbound
