# SPDX-License-Identifier: Apache-2.0
# lib.sh: what the shell suites share; each begins with:  . "${FDIT_SRCDIR:?}/tests/lib.sh"
#
# Afterwards: $program and $source, an empty folder of its own ($work) as the current one, which goes at the end;
# $checks and $failures; the environment of a user who has set nothing but the CPU as the device
# (unset FINEDIFFUSION_DEVICE for the default). A suite ends with `finish`.
set -u
program=${FDIT_PROGRAM:?} source=${FDIT_SRCDIR:?}
FINEDIFFUSION_DEVICE=cpu LC_ALL=C
export FINEDIFFUSION_DEVICE LC_ALL
work=$(mktemp -d) || exit 99
child= # a process that must not outlive the suite
trap '[ -z "$child" ] || kill -9 "$child" 2>/dev/null; chmod -R u+rwx "$work" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
cd "$work" || exit 99
checks=0 failures=0

# fail WHAT [DETAIL]...
fail() {
    failures=$((failures + 1))
    echo "FAIL: $1"
    shift
    for part; do echo "    $part"; done
}
# good ARGUMENT...: the program ends well; its output is in stdout and stderr
good() {
    checks=$((checks + 1))
    "$program" "$@" >stdout 2>stderr || fail "exit $?: $*" "$(cat stderr)"
}
# equal WHAT IS WANTED
equal() {
    checks=$((checks + 1))
    [ "$2" = "$3" ] || fail "$1: '$2', not '$3'"
}
# messages FILE: how many lines it has, but for what says on a slow machine what is being done ("    bench: opening the
# device, 0:03")
messages() {
    grep -vcE '^ +[a-z]+: .*, [0-9]+:[0-9][0-9]$' "$1"
}
# says FILE EXPRESSION
says() {
    checks=$((checks + 1))
    grep -qe "$2" "$1" || fail "no '$2' in $1:" "$(cat "$1")"
}
# each_word WORDS FILE TEXT: every one of WORDS (commas between, ~ is a space) is in FILE
each_word() {
    rest=$1
    while [ -n "$rest" ]; do
        word=$(echo "${rest%%,*}" | tr '~' ' ')
        case $rest in *,*) rest=${rest#*,} ;; *) rest= ;; esac
        grep -qFe "$word" "$2" || fail "'$word' is not in the message of: $3" "$(cat "$2")"
    done
}
# refused WORDS ARGUMENT...: an error with every one of WORDS (~ is a space) in the message
refused() {
    words=$1
    shift
    checks=$((checks + 1))
    "$program" "$@" >stdout 2>stderr
    code=$?
    [ $code = 1 ] || [ $code = 2 ] || fail "not refused: $*" "$(cat stderr)"
    each_word "$words" stderr "$*"
}
# has WHAT FILE TEXT: the file, of any kind, has the text
has() {
    checks=$((checks + 1))
    grep -a -q -F -e "$3" "$2" || fail "$1: no $3 in $2"
}
# same WHAT FILE FILE: byte by byte
same() {
    checks=$((checks + 1))
    cmp -s "$2" "$3" || fail "$1: $2 and $3 differ"
}
finish() {
    echo "$checks checks, $failures failures"
    [ "$failures" -eq 0 ]
    exit
}
