#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks the form of the sources: tools/format.sh [--clang-format | --fix] [FILE]...
#
# Errors are: lines over 110 columns (100 is the aim), tabs, white space at the end of a line, no newline at the end of
# the file, a first line without the licence, more than 1500 lines. --clang-format also lists places
# that clang-format would set otherwise; --fix lets it. Without FILEs: all C and OpenCL sources.
set -eu
cd "$(dirname "$0")/.."
mode=check
case ${1-} in
--clang-format | --fix) mode=$1; shift ;;
-*) sed -n '3,7s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(find include src host cl tests bench tools -path tests/cases/in -prune -o \( -name '*.[ch]' -o -name '*.cl' \) -print | sort)

if [ "$mode" = --fix ]; then
    clang-format -i "$@"
elif [ "$mode" = --clang-format ]; then
    clang-format --dry-run --Werror "$@"
fi

LC_ALL=C.UTF-8 awk '
function bad(what) { printf "%s:%d: %s\n", FILENAME, FNR, what; errors++ }
FNR == 1 && $0 !~ /SPDX-License-Identifier: Apache-2.0/ { bad("the first line has no licence") }
length($0) > 110 { bad(length($0) " columns") }
/\t/ { bad("a tab") }
/[ \r]$/ { bad("white space at the end of the line") }
FNR == 1501 { bad("more than 1500 lines") }
END { exit errors > 0 }' "$@"
for file; do
    [ -z "$(tail -c 1 "$file")" ] || { echo "$file: no newline at the end"; exit 1; }
done
