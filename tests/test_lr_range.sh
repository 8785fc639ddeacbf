#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# train --lr-range: a test of learning rates draws its curve, proposes a rate, and leaves nothing to go on from.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
run="train --data data --batch 4 --seed 7 --from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1"
good $run --lr-range 1e-6:10 --steps 120 --out tested --quiet --json
grep '"done"' stdout >last
says last '"lr_proposed":[0-9]'
proposed=$(sed -n 's/.*"lr_proposed":\([0-9.e-]*\).*/\1/p' last)
lowest=$(sed -n 's/.*"lr_of_lowest_loss":\([0-9.e-]*\).*/\1/p' last)
checks=$((checks + 2))
awk "BEGIN { exit !($proposed > 1e-5 && $proposed < 0.05) }" || fail "proposes $proposed"
awk "BEGIN { d = $lowest / $proposed; exit !(d > 9.99 && d < 10.01) }" || fail "$proposed is not a tenth of $lowest"
equal "the table's head" "$(head -n 1 tested/lr-range.tsv)" "$(printf 'lr\tloss\tsmoothed')"
checks=$((checks + 2))
awk -F '\t' 'NR == 2 { low = $1 } NR > 2 && (r = $1 / before) && NR > 3 && (r / ratio - 1) ^ 2 > 1e-8 { exit 1 }
    NR > 1 { ratio = r; before = $1 } END { exit !(low == 1e-6) }' tested/lr-range.tsv || fail "the rates do not rise by one factor"
awk -F '\t' 'NR > 1 && NR < 12 { first += $2 / 10 } { last = $2 } END { exit !(NR > 60 && last > first) }' tested/lr-range.tsv ||
    fail "the loss does not rise at the end"
equal "what is left" "$(find tested -type f | sed 's,events.*,events,' | LC_ALL=C sort | tr '\n' ' ')" \
    "tested/config.json tested/events tested/log.jsonl tested/lr-range.png tested/lr-range.svg tested/lr-range.tsv "
equal "a picture" "$(od -An -tx1 -N4 tested/lr-range.png | tr -d ' ')" 89504e47
has "a chart" tested/lr-range.svg '<svg'
refused "keeps~no~checkpoint,begin~it~again" train --resume tested
good $run --lr-range 1e-6:10 --steps 120 --out again --quiet --threads 1 --workers 0
same "another number of threads" tested/lr-range.tsv again/lr-range.tsv
same "another number of threads" tested/lr-range.svg again/lr-range.svg
good $run --lr-range 1e-9:1e-8 --steps 40 --out flat
says stderr 'neither falls nor rises'
for bad in 1e-3 0:1 1e-2:1e-3 1:1000 nan:1 a:b; do
    refused "--lr-range" $run --lr-range $bad --steps 100 --out new
done
refused "--lr-range,5~steps" $run --lr-range 1e-6:1 --steps 5 --out new

finish
