# SPDX-License-Identifier: Apache-2.0
# eval.sh: what the suites of `eval` share, after tests/lib.sh.

# bad CODE WORDS COMMAND...: one line of error, beside warnings
bad() {
    checks=$((checks + 1))
    code=$1 words=$2
    shift 2
    "$program" "$@" --quiet >stdout 2>stderr
    got=$?
    [ $got = "$code" ] && grep -qFe "$words" stderr && [ "$(grep -cv 'eval: warning: ' stderr)" -eq 1 ] ||
        fail "exit $got, not $code with '$words': $*" "$(cat stderr)"
}
# value NAME: of a metric in the JSON of the last command
value() { sed 's/{"name"/\n&/g' stdout | sed -n "s/^{\"name\":\"$1\",.*\"value\":\([^,]*\),.*/\1/p"; }
