#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/utility.sh: what drawn pictures are good for, with other typefaces in the place of drawn ones.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
FINEDIFFUSION=$program SEEDS="1 2"
export FINEDIFFUSION SEEDS
for set in train test; do
    mkdir $set
    gzip -dc "$source/data/letters-$set.tar.gz" | (cd $set && tar xf - A/mono A/hand B/mono) || exit 99
done
mkdir -p drawn/A%2Fmono drawn/A%2Fhand drawn/B%2Fmono rest/A/mono rest/A/hand rest/B/mono
for class in A/mono A/hand B/mono; do # half of the test pictures play the drawn ones
    n=0
    for file in test/$class/*; do
        n=$((n + 1))
        [ $((n % 2)) = 0 ] && cp "$file" "drawn/$(echo $class | sed 's|/|%2F|')/" || cp "$file" rest/$class/
    done
done
rm -f $(ls train/B/mono/* | tail -n +7) # the tail
way="--model 32,1,2,3 --size 24 --channels 1 --steps 30 --batch 8 --lr 1e-3 --quiet"

checks=$((checks + 1))
sh "$source/tools/utility.sh" train drawn rest out $way >stdout 2>stderr || fail "exit $?" "$(cat stderr)"
says stdout '^| trained on | right class, all | right class, tail |$'
for name in real drawn 'real, and drawn ones for the tail'; do
    says stdout "^| $name | [0-9.]* +- [0-9.]* % | [0-9.]* +- [0-9.]* % |\$"
done
equal "classes of the tail" "$(cat out/tail)" B/mono
equal "pictures of the tail" "$(ls out/real+drawn/B/mono | wc -l | tr -d ' ')" \
    $((6 + $(ls drawn/B%2Fmono | wc -l)))
equal "pictures of another class" "$(ls out/real+drawn/A/mono | wc -l | tr -d ' ')" "$(ls train/A/mono | wc -l | tr -d ' ')"
equal "numbers" "$(wc -l <out/numbers | tr -d ' ')" 6
cp stdout first
checks=$((checks + 1))
sh "$source/tools/utility.sh" train drawn rest out $way >stdout 2>stderr && cmp -s first stdout ||
    fail "again it says something else" "$(cat stdout stderr)"

refused() { # refused WORDS ARGUMENT...
    checks=$((checks + 1))
    words=$1
    shift
    sh "$source/tools/utility.sh" "$@" $way >stdout 2>stderr
    [ $? = 2 ] && grep -qFe "$words" stderr || fail "not refused with '$words': $*" "$(cat stderr)"
}
refused 'is also a picture to train on' train drawn test other
rm -r drawn/A%2Fhand
refused 'have other classes' train drawn rest other
refused 'is not a folder' train nowhere rest other
finish
