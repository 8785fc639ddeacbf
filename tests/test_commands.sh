#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The suites call only programs that a minimal Debian has, that third_party/install.sh --tests installs, or that they ask
# for first (`command -v NAME`, or `needs NAME` in tests/cases): else they pass here and fail on the next machine.
set -u
source=${FDIT_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$source" || exit 99
checks=0 failures=0
fail() { failures=$((failures + 1)); echo "FAIL: $1"; }

shell=': . [ alias break cd command continue echo eval exec exit export false getopts hash kill printf pwd read readonly
    return set shift test times trap true type ulimit umask unset wait done fi esac'
# Packages that are Essential or of priority required.
coreutils='basename cat chgrp chmod chown cksum comm cp csplit cut date dd df dirname du env expand expr factor fmt fold
    groups head id install join link ln ls md5sum mkdir mkfifo mknod mktemp mv nice nl nohup nproc numfmt od paste
    pr readlink realpath rm rmdir seq sha1sum sha256sum sha512sum shred shuf sleep sort split stat stdbuf stty sum sync
    tac tail tee timeout touch tr truncate tsort tty uname unexpand uniq unlink users wc whoami yes'
essential="awk bash sh cmp diff diff3 dpkg dpkg-query find xargs grep egrep fgrep gzip gunzip zcat hostname getconf iconv
    ldd locale perl sed tar chrt flock getopt ionice losetup lsblk lscpu prlimit setpriv setsid taskset unshare nsenter
    mount umount mkfs.ext4 su which"
# What install.sh installs, and what that needs: a compiler and its binutils, make.
installed='cc gcc ar nm objcopy objdump ranlib readelf size strings strip make autoconf automake libtool pkg-config xz'
for word in $shell $coreutils $essential $installed; do echo "$word"; done >"$work/allowed"

# unexpected FILE...: "FILE WORD" of each that is called and not allowed; functions of tests/lib.sh and of what other
# scripts read are everybody's.
unexpected() {
    awk -f tests/commands.awk "$@" | LC_ALL=C sort -u >"$work/words" || return 1
    awk 'FILENAME ~ /allowed$/ { allowed[$1]; next }
        $2 ~ /^\+/ {
            word = substr($2, 2)
            own[$1, word]
            if ($1 ~ /lib\.sh$|eval\.sh$|ranks\.sh$|demo_data\.sh$|test_cases\.sh$/) allowed[word]
            next
        }
        !(($1, $2) in own) { file[++n] = $1; name[n] = $2 }
        END { for (i = 1; i <= n; i++) if (!(name[i] in allowed)) print file[i], name[i] }' "$work/allowed" "$work/words"
}

# That it sees them, wherever they stand, and nothing else.
cat >"$work/script" <<'END'
seen-1 a && ! seen-2 | seen-3; if seen-4; then seen-5; else seen-6 & fi
x=$(seen-7 "$(seen-8)") y="b $(seen-9) ${z:-no-1}"
A=1 seen-10 no-2 >no-3 2>&1 </dev/null # no-4
exec env B=2 timeout -k 5 10 seen-11 no-5
sh -c 'seen-12 && cat "$0"' no-6
find . -exec seen-13 {} +
case $x in no-7 | no-8*) seen-14 ;; no-9) seen-15 no-10 ;; esac
for i in no-11 no-12; do seen-16; done
cat <<E
no-13
E
echo 'no-14; no-15' "no-16 | no-17"
here() { seen-17; }
here
command -v asked >/dev/null && asked
while seen-18; do
    { seen-19; }
done
(cd / && seen-20)
END
checks=$((checks + 1))
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do echo "seen-$i"; done | LC_ALL=C sort >"$work/wanted"
unexpected "$work/script" | sed 's/.* //' | LC_ALL=C sort >"$work/found"
diff "$work/wanted" "$work/found" || fail "commands of a script are not seen"

checks=$((checks + 1))
unexpected tests/*.sh tests/cases/*.sh tests/faults/*.sh >"$work/found" || fail "the scripts cannot be read"
[ -s "$work/words" ] || fail "no script calls anything"
while read -r file word; do
    fail "$file calls $word, which a minimal Debian lacks: ask before with command -v $word, or do without"
done <"$work/found"
echo "$checks checks, $failures failures"
[ $failures -eq 0 ]
