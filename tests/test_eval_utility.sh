#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `eval --utility`: what generated pictures are good for, with other typefaces in the place of generated ones.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
for set in train test; do
    mkdir $set
    gzip -dc "$source/data/letters-$set.tar.gz" | (cd $set && tar xf - A/mono A/hand B/mono) || exit 99
done
# a class in a folder is one folder where `sample` writes it
mkdir -p drawn/A%2Fmono drawn/A%2Fhand drawn/B%2Fmono rest/A/mono rest/A/hand rest/B/mono
for class in A/mono A/hand B/mono; do # half of the test pictures play the generated ones
    n=0
    for file in test/$class/*; do
        n=$((n + 1))
        [ $((n % 2)) = 0 ] && cp "$file" "drawn/$(echo $class | sed 's|/|%2F|')/" || cp "$file" rest/$class/
    done
done
rm -f $(ls train/B/mono/* | tail -n +7) # the tail
pictures() { find "$1" -name '*.png' | wc -l | tr -d ' '; }
how='model=16,1,2,3 size=24 channels=1 steps=6 batch=8 lr=1e-3'

# the plan, before anything is written
good eval drawn --utility train rest --out out --train "$how" --plan
says stdout '^gradients  *[0-9]'
says stdout '^sum of the process'
good eval drawn --utility train rest --out out --train "$how" --plan --json
says stdout '^{"plan":true,.*"kind":"gradients"'
checks=$((checks + 1))
[ ! -e out ] || fail "--plan writes"
good eval drawn --utility train rest --out out --seeds 2 --train "$how" --report out.html
for name in real generated 'real, and generated for the tail'; do
    says stdout "^$name  *[0-9]*  *[0-9.]* +- [0-9.]* %  *[0-9.]* +- [0-9.]* %  *[0-9.]* +- [0-9.]* %  *[0-9.]* +- [0-9.]* %\$"
done
says stdout "^real  *$(pictures train) "
says stdout "^generated  *$(pictures drawn) "
says stdout "^real, and generated for the tail  *$(($(pictures train) + $(pictures drawn/B%2Fmono))) "
says stdout "^$(pictures rest) test pictures of 3 classes; generated ones were added to 1 of them;"
says out.html 'Right class: tail'
equal "classifiers" "$(wc -l <out/utility.tsv | tr -d ' ')" 7
# as eval says it of the same classifier and the same pictures
good eval rest --features judge:out/real-1/delta.safetensors --metrics accuracy --draws 0 --json --quiet
equal "a classifier's accuracy" "$(sed 's/.*"accuracy top-1 class":{[^}]*"value":\([^,]*\),.*/\1/' stdout | cut -c 1-10)" \
    "$(awk '$1 == "real" && $2 == 1 { print $3 }' out/utility.tsv | cut -c 1-10)"
# again, and after an interruption: nothing is lost, the numbers are the same
cp out/utility.tsv before
rm -r out/both-2 out/generated-1/delta.safetensors
good eval drawn --utility train rest --out out --seeds 2 --train "$how" --json --quiet
same "numbers of the same command" before out/utility.tsv
says stdout '^{"test_pictures":[0-9]*,"classes":3,"tail_classes":1,"seeds":2,"utility":\[{"trained_on":"real",'
refused 'its~sets~were~made~of~other~pictures~or~with~other~options' eval train --utility train rest --out out --seeds 2 --train "$how"
# drawn for it
good train --from-scratch --tune full --model 16,1,2,3 --size 24 --channels 1 --data train --batch 4 --steps 1 --out run \
    --quiet --preview-every 0
good eval --base run/delta.safetensors --per-class 3 --sampler ddim --steps 2 --utility train rest --out direct --seeds 1 \
    --train "$how" --plan
equal "plans of drawing and of training" "$(grep -c '^sum of the process' stdout)" 2
good eval --base run/delta.safetensors --per-class 3 --sampler ddim --steps 2 --utility train rest --out direct --seeds 1 \
    --train "$how" --quiet
says stdout "^generated  *9 "
# drawn, or a cache, with the classes in another order than the real pictures' folders
printf 'class\tletter\nB/mono\tB\nA/mono\tA\nA/hand\tA\n' >reversed.tsv
good train --from-scratch --tune full --model 16,1,2,3 --size 24 --channels 1 --data train --taxonomy reversed.tsv --batch 4 \
    --steps 1 --out reversed --quiet --preview-every 0
good eval --base reversed/delta.safetensors --per-class 3 --sampler ddim --steps 2 --utility train rest --out turned --seeds 1 \
    --train "$how" --quiet
says stdout "^generated  *9 "
equal "folders" "$(ls -d turned/generated* turned/test*)" "turned/generated
turned/generated-1
turned/test"
good encode drawn drawn-cache --taxonomy reversed.tsv --size 24 --channels 1 --flip none --quiet
good encode drawn drawn-straight --size 24 --channels 1 --flip none --quiet
for set in cache straight; do
    good eval drawn-$set --utility train rest --out by-$set --seeds 1 --train "$how" --quiet
done
same "numbers of a cache in another order" by-straight/utility.tsv by-cache/utility.tsv

# broken pictures: refused by name, or left out everywhere
cp -R train holes
head -c 100 "$(ls -d train/A/mono/* | head -n 1)" >holes/A/mono/0-cut.png
: >holes/B/mono/empty.png
cp -R rest rest-holes
head -c 200 "$(ls -d rest/A/hand/* | head -n 1)" >rest-holes/A/hand/zz-cut.png
cp -R drawn drawn-holes
head -c 90 "$(ls -d drawn/B%2Fmono/* | head -n 1)" >drawn-holes/B%2Fmono/0.png
refused 'holes/,leave~out~such~pictures~with~--skip-bad' eval drawn-holes --utility holes rest-holes --out holed --seeds 1 --train "$how" --quiet
good eval drawn-holes --utility holes rest-holes --out holed --seeds 1 --train "$how" --skip-bad
says stderr '^4 broken pictures were left out$'
good eval drawn --utility train rest --out whole --seeds 1 --train "$how" --quiet
same "numbers without the broken pictures" whole/utility.tsv holed/utility.tsv

refused 'is~also~one~to~train~on' eval drawn --utility train test --out other --train "$how"
refused 'nowhere:~no~such' eval drawn --utility nowhere rest --out unmade --train "$how"
rm -r drawn/A%2Fhand
refused 'has~no~generated~picture' eval drawn --utility train rest --out another --train "$how"
refused 'give~--out~DIR' eval drawn --utility train rest
refused 'GENERATED,~REAL~and~TEST' eval train rest --utility --out other
refused 'are~settled~by~--utility' eval drawn --utility train rest --out other --train 'val=0.5'
refused stepz eval drawn --utility train rest --out other --train 'stepz=0.5'
refused 'goes~with~--utility' eval drawn --out other
finish
