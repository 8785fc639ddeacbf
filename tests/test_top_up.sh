#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Long tails filled up with drawn pictures, and a picture drawn again from what it says of itself.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

mkdir data
gzip -dc "$source/data/letters-test.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono) || exit 99
find data/A/mono -name '*.png' | LC_ALL=C sort | tail -n +3 | while read -r file; do rm "$file"; done
find data/B/mono -name '*.png' | LC_ALL=C sort | tail -n +6 | while read -r file; do rm "$file"; done
small="--from-scratch --tune full --model 32,2,2,4 --size 24 --channels 1 --batch 2 --quiet --preview-every 0"
good train $small --data data --steps 2 --out run
good train $small --data data --steps 3 --out run3
draw="sample --base run/delta.safetensors --steps 3 --quiet"
count() { find "$1" -name "$2" | wc -l; }

# ------------------------------------------------------------------ filling up
hands=$(count data/A/hand '*.png')
[ "$hands" -ge 8 ] || exit 99
good $draw --top-up 7 --counts-of data --out full
equal "drawn for the class of 2" "$(count full/A%2Fmono 'A%2Fmono-*.png')" 5
equal "drawn for the class of 5" "$(count full/B%2Fmono 'B%2Fmono-*.png')" 2
equal "drawn for the class of many" "$(count full/A%2Fhand 'A%2Fhand-*.png')" 0
equal "real ones" "$(count full 'real-*.png')" $((hands + 7))
equal "lines of real ones" "$(grep -c '"origin":"real"' full/manifest-data.jsonl)" $((hands + 7))
equal "lines of drawn ones" "$(grep -c '"origin":"drawn","seed":[0-6],' full/manifest-data.jsonl)" 7
grep '"class":"B/mono".*"origin":"real"' full/manifest-data.jsonl | head -n 1 >line
original=$(sed 's/.*"source":"\([^"]*\)".*/\1/' line) copy=$(sed 's/.*"file":"\([^"]*\)".*/\1/' line)
same "a real picture" "data/$original" "full/$copy"
good inspect full
says stdout 'classes      3'
says stdout 'fewest       7'
good train $small --data full --steps 1 --out on-full # the classes are those of the data
good inspect on-full/delta.safetensors --classes
cp stdout classes
good inspect run/delta.safetensors --classes
same "classes of both" stdout classes
good encode full cache --size 24 --flip none --quiet

# again, from where a job was stopped, and in shards: the same
rm full/manifest-data.jsonl full/A%2Fmono/A%2Fmono-3.png full/B%2Fmono/real-*
good $draw --top-up 7 --counts-of data --out full
equal "real ones" "$(count full 'real-*.png')" $((hands + 7))
for shard in 0/2 1/2; do good $draw --top-up 7 --counts-of data --out shards --shard $shard --threads 1; done
(cd full && find . -name '*.png' | LC_ALL=C sort | xargs sha256sum) >a
(cd shards && find . -name '*.png' | LC_ALL=C sort | xargs sha256sum) >b
same "shards" a b
equal "lines of shards" "$(cat shards/manifest-data.*-of-2.jsonl | wc -l)" $((hands + 14))
good $draw --top-up 7 --counts-of data --out archives --tar
equal "lines beside archives" "$(grep -c '"origin":"real","source":"[^"]*","file":"real-[0-9]*.png"' archives/manifest-data.jsonl)" \
    $((hands + 7))
good inspect 'archives/*.tar'
says stdout "pictures  *$((hands + 14))"
good $draw --top-up 7 --counts-of data --out archives --tar
equal "files of archives" "$(cd archives && ls | tr '\n' ' ')" \
    "manifest-data.jsonl manifest.jsonl pictures-00000.tar real-00000.tar run.json "
good $draw --top-up 4 --classes A/mono --counts-of data --out one
equal "drawn for one class" "$(count one 'A%2Fmono-*.png')" 2
tar cf data.tar data
good $draw --top-up 7 --counts-of data.tar --out from-tar
equal "real ones of an archive" "$(count from-tar 'real-*.png')" $((hands + 7))

refused "--top-up~2,3~classes,nothing~is~missing" $draw --top-up 2 --counts-of data --out new
refused "--counts-of~DATA,missing" $draw --top-up 2 --out new
refused "--top-up~N,missing" $draw --counts-of data --out new
refused "--top-up,--out" $draw --top-up 9 --counts-of data --grid new.png
refused "--top-up,--counts" $draw --top-up 9 --counts-of data --counts data --out new
refused "--top-up~0,at~least~1" $draw --top-up 0 --counts-of data --out new
good encode data kept --quiet
# a cache and a manifest tell how many there are, and have no pictures to copy
"$program" sample --base run/delta.safetensors --steps 3 --top-up 7 --counts-of kept --out by-cache >stdout 2>stderr ||
    fail "counts of a cache" "$(cat stderr)"
says stderr '--counts-of kept is a cache: the drawn pictures alone are written'
equal "drawn by a cache's counts" "$(cd by-cache && find . -name '*.png' | LC_ALL=C sort)" \
    "$(cd full && find . -name '*[yo]-[0-9].png' | LC_ALL=C sort)"
for class in A/mono B/mono A/hand; do
    grep "\"class\":\"$class\",.*\"real\"" full/manifest-data.jsonl
done >real.jsonl
good $draw --top-up 7 --counts-of real.jsonl --out by-manifest
checks=$((checks + 1))
diff -r by-cache by-manifest >message || fail "counts of a manifest: other pictures" "$(cat message)"
refused "--top-up~7,nothing~is~missing" $draw --top-up 7 --counts-of full/manifest-data.jsonl --out new
echo '{"class":"C/other"}' >unknown.jsonl
refused "--counts-of,C/other,does~not~know" $draw --top-up 9 --counts-of unknown.jsonl --out new
echo '{"id":3}' >classless.jsonl
refused "--counts-of,line~1,class" $draw --top-up 9 --counts-of classless.jsonl --out new
printf '{"class":"A/mono"}\n{"class":"A' >torn.jsonl
refused "--counts-of,torn.jsonl,line~2" $draw --top-up 9 --counts-of torn.jsonl --out new
refused "--counts-of,nowhere" $draw --top-up 9 --counts-of nowhere --out new
mkdir -p more/C/other && cp "data/$original" more/C/other
refused "--counts-of,C/other" $draw --top-up 9 --counts-of more --out new
refused "--out,data" $draw --top-up 9 --counts-of data --out data/new
[ ! -e new ] || fail "a refused job made a folder"

# ------------------------------------------------------------------ what a picture says, and the same again
picture=A%2Fmono/A%2Fmono-3.png
good inspect full/$picture
says stdout 'drawn picture'
says stdout '  class        A/mono$'
says stdout '  seed         3$'
says stdout '  hash         [0-9a-f]\{16\}$'
says stdout ' --steps 3'
good inspect full/$picture --json
says stdout '"seed": *3'
good sample --base run/delta.safetensors --like full/$picture --out again --quiet --batch 1 --threads 1
same "drawn again" full/$picture again/$picture
equal "drawn again" "$(count again '*.png')" 1
good sample --base run/delta.safetensors --classes A/hand --seed 9 --sampler ddim:0.5 --steps 4 --guidance 3 --no-clip-x0 \
    --guidance-interval 100:800 --out other --quiet
good sample --base run/delta.safetensors --like other/A%2Fhand/A%2Fhand-9.png --out again2 --quiet
same "drawn again with its options" other/A%2Fhand/A%2Fhand-9.png again2/A%2Fhand/A%2Fhand-9.png
hash=$("$program" inspect full/$picture | sed -n 's/^  hash *//p')
refused "--like,$hash,weights" sample --base run3/delta.safetensors --like full/$picture --out new --quiet
refused "--like,--base,$hash" sample --like full/$picture --out new --quiet
refused "--like,--weights~\"f32\",bf16" sample --base run/delta.safetensors --like full/$picture --weights bf16 --out new --quiet
refused "--like,--out" sample --base run/delta.safetensors --like full/$picture --grid new.png --quiet
refused "data/$original,does~not~say" sample --base run/delta.safetensors --like "data/$original" --out new --quiet
refused "run/config.json,is~not~a~whole~PNG" sample --base run/delta.safetensors --like run/config.json --out new --quiet
refused "nowhere.png" sample --base run/delta.safetensors --like nowhere.png --out new --quiet
head -c 400 full/$picture >cut.png
refused "cut.png,is~not~a~whole~PNG" sample --base run/delta.safetensors --like cut.png --out new --quiet
refused "is~a~PNG~picture" inspect "data/$original"

finish
