#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks the form of the sources: tools/format.sh [--fix | --plain] [FILE]...
#
# C and OpenCL sources are as clang-format sets them (.clang-format; version 14, as Debian 12 has it: others differ in
# details, so with another one this part is left out, and said to be), with lines of at most 110 columns, the licence
# in the first line, no tabs, no white space at the end of a line, a newline at the end of the file, at most 900 lines,
# functions and kernels of at most 60, and rulers (comments of dashes) on one line with their text. --fix lets
# clang-format set them, --plain leaves clang-format out. Without FILEs: all sources but generated ones.
set -eu
cd "$(dirname "$0")/.."
mode=check
case ${1-} in
--fix | --plain) mode=$1; shift ;;
-*) sed -n '3,9s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(find include src host cl tests bench tools -path tests/cases/in -prune -o \
    \( -name '*.[ch]' -o -name '*.cl' -o -name '*.inc' \) ! -name font_data.c -print | sort)

has=
[ "$mode" = --plain ] || has=$(clang-format --version 2>/dev/null) || has='no clang-format'
case $mode$has in
--plain) ;;
*'version 14.'*)
    if [ "$mode" = --fix ]; then
        clang-format -i "$@"
    else
        clang-format --dry-run --Werror "$@" || { echo "format.sh: tools/format.sh --fix sets them right" >&2; exit 1; }
    fi ;;
--fix*) echo "format.sh: --fix needs clang-format 14, here is: $has" >&2; exit 1 ;;
*) echo "format.sh: skipped what needs clang-format 14, here is: $has" >&2 ;;
esac

LC_ALL=C.UTF-8 awk '
function bad(what) { printf "%s:%d: %s\n", FILENAME, FNR, what; errors++ }
FNR == 1 && $0 !~ /SPDX-License-Identifier: Apache-2.0/ { bad("the first line has no licence") }
length($0) > 110 { bad(length($0) " columns") }
/(is|was) no [a-z]/ && !/([Tt]here|[Ww]here) (is|was) no|(is|was) no (longer|such|faster|slower|better)/ { bad("\"is no X\": say \"is not an X\"") }
/\t/ { bad("a tab") }
/\/\* -----/ && !/\*\/$/ { bad("a ruler whose text is on another line") }
/[ \r]$/ { bad("white space at the end of the line") }
FNR == 901 { bad("more than 900 lines") }
# As clang-format sets them: the last line that begins at the margin names the function, then { and } alone.
FNR == 1 { named = begins = 0 }
$0 == "{" { begins = named }
$0 == "}" && begins {
    if (FNR - begins + 1 > 60)
        bad(FNR - begins + 1 " lines in " name)
    begins = 0
}
/^[A-Za-z_]/ { named = FNR; name = $0 }
END { exit errors > 0 }' "$@"
for file; do
    [ -z "$(tail -c 1 "$file")" ] || { echo "$file: no newline at the end"; exit 1; }
done
