#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `eval`: real and generated letters through the built-in judge, feature files, statistics, bad inputs.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
. "$source/tests/eval.sh"
taxonomy=$source/data/letters/taxonomy.tsv

# within NAME LOW HIGH
within() {
    checks=$((checks + 1))
    awk -v v="$(value "$1")" -v low="$2" -v high="$3" 'BEGIN { exit !(v != "" && v >= low && v <= high) }' ||
        fail "$1 is '$(value "$1")', not in $2 .. $3"
}
lapack=no
"$program" eval --help >stdout || exit 99

mkdir real fresh
gzip -dc "$source/data/letters-train.tar.gz" | (cd real && tar xf - A/mono A/hand B/mono) || exit 99
gzip -dc "$source/data/letters-test.tar.gz" | (cd fresh && tar xf - A/mono A/hand B/mono) || exit 99

# the same pictures twice: at distance 0, and all of them copies
good eval real --real real --taxonomy "$taxonomy" --json --quiet --draws 10 --features-out real.safetensors
cp stdout same.json
[ -z "$(value fd:judge)" ] || lapack=yes
[ $lapack = no ] || within fd:judge 0 0
within precision:judge 1 1
within recall:judge 1 1
within authenticity:judge 0 0
within nearest:judge 0 0
says stdout 'generated pictures are a copy of a real one'
within 'accuracy top-1 letter' 0.9 1

# other typefaces of the same classes: near, and not copies
good eval fresh --real real --taxonomy "$taxonomy" --json --quiet --by-class classes.tsv \
    --features-out fresh.npz --stats-out fresh-stats.npz
cp stdout fresh.json
[ $lapack = no ] || within fd:judge 0.5 60
within recall:judge 0.4 1
within authenticity:judge 0.4 1
within 'accuracy top-1 letter' 0.9 1
says stdout '"by":\[{"rank":"tail","group":"head","metrics":{"kid":[-0-9.e]*,'
says stdout '{"rank":"letter","group":"A","metrics":{'
says stdout '{"rank":"class","group":"A/mono","metrics":{'
says stdout '"metrics":{"[a-z]*:judge":{"name":"[a-z]*:judge","metric":"[a-z]*","value":[-0-9.e]*,"error":[-0-9.e]*,.*"n":36[,}]'
equal "lines of the table" "$(wc -l <classes.tsv | tr -d ' ')" 111
says classes.tsv '^class	letter	style	third	real	generated	kid	'
says classes.tsv '^A/mono	A	mono	head	[0-9]*	[0-9]*	[-0-9.]'
checks=$((checks + 1)) # classes without pictures have empty fields
grep -q '^Q/mono	Q	mono	[a-z]*	0	0		' classes.tsv || fail "no empty row" "$(grep '^Q/mono' classes.tsv)"

good eval fresh --taxonomy "$taxonomy" --metrics none --features-out fresh.safetensors --quiet

# The plan, and limits: fewer pictures at once change no bit, and what does not fit is named.
good eval fresh --real real --taxonomy "$taxonomy" --plan
says stdout 'draws of the error bars'
says stdout '^features (host) .*features of real'
says stdout '^picture cache (host) .*decoding, 2 workers'
says stdout '^sum of the process'
good eval fresh --real real --taxonomy "$taxonomy" --plan --json
says stdout '^{"plan":true,.*"kind":"features (host)",.*"kind":"metrics (host)"'
good eval fresh --real real --taxonomy "$taxonomy" --metrics none --plan
checks=$((checks + 1))
! grep -q draws stdout || fail "draws are planned without a metric that has error bars" "$(cat stdout)"
good eval fresh --taxonomy "$taxonomy" --metrics none --features-out small.safetensors --memory 6M
says stderr 'pictures at once, as the limit of memory allows'
equal "features, by fewer pictures at once" "$(cksum <small.safetensors)" "$(cksum <fresh.safetensors)"
refused 'the~largest~part,draws~of~the~error~bars,give~fewer~--draws' eval fresh --real real \
    --taxonomy "$taxonomy" --draws 10000 --memory 6M
# features from files give the same numbers, without a network
good eval fresh.npz --real real.safetensors --json --quiet --device no-such-device --no-classes
for name in kid:judge precision:judge recall:judge coverage:judge; do
    want=$(sed 's/{"name"/\n&/g' fresh.json | sed -n "s/^{\"name\":\"$name\",.*\"value\":\([^,]*\),.*/\1/p")
    equal "$name of files" "$(value "$name")" "$want"
done
# real features without classes; classes of a file whose numbers are other ones than the taxonomy's
good eval real --metrics none --no-classes --features-out unlabelled.npz --quiet
good eval fresh --real unlabelled.npz --taxonomy "$taxonomy" --json --quiet --draws 0
within recall:judge 0.4 1
{ head -n 1 "$taxonomy" && tail -n +2 "$taxonomy" | sort -r; } >reversed.tsv
good eval fresh --taxonomy reversed.tsv --metrics none --features-out reversed.safetensors --quiet
good eval reversed.safetensors --real real.safetensors --taxonomy "$taxonomy" --json --quiet --draws 0
for name in 'accuracy top-1 class' 'accuracy top-5 class' 'accuracy top-1 style' recall:judge; do
    want=$(sed 's/{"name"/\n&/g' fresh.json | sed -n "s/^{\"name\":\"$name\",.*\"value\":\([^,]*\),.*/\1/p")
    equal "$name of other class numbers" "$(value "$name")" "$want"
done
# the number of threads and the batch change no bit
good eval fresh --real real --taxonomy "$taxonomy" --json --quiet --threads 1 --batch 7 --by-class other.tsv
for name in kid:judge recall:judge nearest:judge; do
    want=$(sed 's/{"name"/\n&/g' fresh.json | sed -n "s/^{\"name\":\"$name\",.*\"value\":\([^,]*\),.*/\1/p")
    within "$name" "$(awk -v v="$want" 'BEGIN { printf "%.9f", v - 1e-4 }')" "$(awk -v v="$want" 'BEGIN { printf "%.9f", v + 1e-4 }')"
done
if [ $lapack = yes ]; then
    good eval real --taxonomy "$taxonomy" --stats-out real.npz --metrics none --quiet
    good eval fresh --taxonomy "$taxonomy" --stats real.npz --metrics fd --json --quiet
    cp stdout stats.json
    want=$(sed 's/{"name"/\n&/g' fresh.json | sed -n 's/^{"name":"fd:judge",.*"value":\([^,]*\),.*/\1/p')
    within fd:judge "$(awk -v v="$want" 'BEGIN { printf "%.9f", v - 1e-6 }')" "$(awk -v v="$want" 'BEGIN { printf "%.9f", v + 1e-6 }')"
    good eval fresh-stats.npz --stats real.npz --json --quiet
    within fd:judge "$(awk -v v="$want" 'BEGIN { printf "%.9f", v - 1e-6 }')" "$(awk -v v="$want" 'BEGIN { printf "%.9f", v + 1e-6 }')"
    bad 2 'it needs features of real pictures' eval fresh --taxonomy "$taxonomy" --stats real.npz --metrics kid
    # LAPACKE that cannot be loaded on the machine at hand (elsewhere it may have another name)
    mkdir broken
    : >broken/liblapacke.so.3
    LD_LIBRARY_PATH=$PWD/broken "$program" eval fresh.npz --real real.safetensors --no-classes --metrics fd --quiet \
        >stdout 2>stderr || says stderr 'needs LAPACK, whose library cannot be loaded (.*); install liblapacke'
else
    for metric in fd sfid fd-infinity; do
        bad 1 "--metrics $metric: it needs LAPACK, which this program was built without" eval fresh.npz --real real.safetensors \
            --no-classes --metrics $metric
    done
fi

# one planted copy is the closest pair; one picture again and again covers nothing
copy=$(ls real/A/mono/*.png | head -n 1)
cp -r fresh planted
cp "$copy" planted/B/mono/planted.png
good eval planted --real real --taxonomy "$taxonomy" --json --quiet --metrics nearest
says stdout '1 generated picture is a copy of a real one'
says stdout "\"closest\":\[{\"distance\":0.0,\"generated\":\"planted/B/mono/planted.png\",\"real\":\"$copy\"}"
mkdir -p same/A/mono
for i in 1 2 3 4 5 6 7 8 9; do cp "$copy" same/A/mono/$i.png; done
good eval same --real real --taxonomy "$taxonomy" --json --quiet --metrics precision,recall
within precision:judge 1 1
within recall:judge 0 0.05

# for people
good eval fresh --real real --taxonomy "$taxonomy" --draws 0 --metrics kid,recall,accuracy
says stdout '^metric  *value'
says stdout '^kid:judge  *[-0-9.]*  *lower is better'
says stdout '^letter  *kid mean-dist'
says stderr 'pictures  *fresh: '
checks=$((checks + 1))
[ "$("$program" eval --help | awk 'length > 80' | wc -l)" -eq 0 ] || fail "help is wider than 80"

# a sample run's folder and its archives
"$program" train --from-scratch --tune full --model 16,1,2,3 --size 24 --channels 1 --taxonomy "$taxonomy" --data real \
    --allow-missing --batch 4 --steps 2 --out run --quiet --preview-every 0 2>train.err ||
    "$program" train --from-scratch --tune full --model 16,1,2,3 --size 24 --channels 1 --data real --batch 4 \
        --steps 2 --out run --quiet --preview-every 0 || fail "no run" "$(cat train.err)"
good sample --base run/delta.safetensors --sampler ddim --steps 2 --per-class 3 --classes all --out drawn --quiet
good sample --base run/delta.safetensors --sampler ddim --steps 2 --per-class 3 --classes all --out tarred --tar --quiet
good eval drawn --real real --json --quiet --draws 0 --metrics kid,precision
want=$(value kid:judge)
good eval tarred --real real --json --quiet --draws 0 --metrics kid,precision
equal "kid of the archive" "$(value kid:judge)" "$want"
# a cache
good encode real cache --size 24 --channels 1 --flip none --quiet
good eval cache --real real --json --quiet --draws 0 --metrics nearest
within nearest:judge 0 0

# pictures without class folders, beside folders, in folders of any depth, in archives: the same ones, the same features
mkdir -p flat odd-depths/x/y
n=0
for file in $(find fresh -name '*.png' | sort); do
    n=$((n + 1))
    cp "$file" flat/$n.png
    case $((n % 3)) in 0) cp "$file" odd-depths/$n.png ;; 1) cp "$file" odd-depths/x/$n.png ;; 2) cp "$file" odd-depths/x/y/$n.png ;; esac
done
(cd flat && tar cf ../flat.tar *.png)
bad 1 'eval: or give --no-classes' eval flat --real real
good eval fresh --real real --no-classes --metrics kid --draws 0 --json --quiet
want=$(value kid:judge | cut -c 1-10)
for set in flat odd-depths flat.tar; do
    good eval $set --real real --no-classes --metrics kid,nearest --draws 0 --json --quiet
    equal "kid of $set" "$(value kid:judge | cut -c 1-10)" "$want"
done
says stdout '"generated":"flat.tar:[0-9]*.png"'
good eval real --real flat --no-classes --metrics nearest --draws 0 --json --quiet
says stdout '"real":"flat/[0-9]*.png"'

# numbers that mean little say why
good eval fresh --real real --taxonomy "$taxonomy" --metrics is,cmmd,kid-subsets --draws 0 --json --quiet
says stdout '"metric":"is",[^}]*"note":"splits of 3 pictures: too low by chance'
says stdout '"metric":"cmmd",[^}]*"note":"of fewer than 1000 pictures: too large by the pairs of a picture with itself'
says stdout '"metric":"kid-subsets",[^}]*"note":"subsets of 36 pictures'

# what fd would be of endlessly many pictures: below that of so few, with its reason
if [ $lapack = yes ]; then
    good eval fresh --real real --taxonomy "$taxonomy" --metrics fd,fd-infinity --draws 0 --json --quiet
    checks=$((checks + 1))
    awk -v a="$(value fd-infinity:judge)" -v b="$(value fd:judge)" 'BEGIN { exit !(a != "" && a < b) }' ||
        fail "fd-infinity is '$(value fd-infinity:judge)', fd '$(value fd:judge)'"
    says stdout 'subsets of 9 pictures for 72 features'
fi

# a page that needs nothing else
good eval planted --real real --taxonomy "$taxonomy" --draws 5 --report page.html --quiet
cp page.html once.html
good eval planted --real real --taxonomy "$taxonomy" --draws 5 --report page.html --by style,class
says stdout '^class  *kid'
says stdout '^style  *kid'
checks=$((checks + 1))
! grep -q '^letter' stdout || fail "--by style shows letters"
says stderr 'a report in page.html'
checks=$((checks + 1))
cmp -s once.html page.html || fail "the same report has other bytes"
for part in '<h2>Numbers' 'kid:judge' '<svg ' 'Shares of pictures' '<h2>By letter' '<h2>Best classes by kid' \
    '<h2>Worst classes by kid' 'src="data:image/png;base64,iVBOR' 'Closest to a real picture' 'planted/B/mono/planted.png'; do
    checks=$((checks + 1))
    grep -qFe "$part" page.html || fail "no '$part' in the report"
done
checks=$((checks + 1))
! grep -qE '(src|href)="?(http|//|/)' page.html || fail "the report needs other files"
mkdir -p 'odd/A/mono' 'odd/<b>&"x"/hand'
cp fresh/A/mono/*.png odd/A/mono/
cp fresh/A/hand/*.png 'odd/<b>&"x"/hand/'
good eval odd --real odd --draws 0 --report odd.html --quiet
checks=$((checks + 1))
! grep -q '<b>' odd.html && grep -qF '&lt;b&gt;&amp;&quot;x&quot;' odd.html || fail "names are markup in the report"
good eval fresh.safetensors --real real.safetensors --draws 0 --report files.html --quiet
checks=$((checks + 1))
! grep -q '<img' files.html && grep -q 'By letter' files.html || fail "a report of feature files"

# bad input: one line each
bad 2 '"genus" is not class, tail or a rank of the classes, as letter' eval fresh --real real --taxonomy "$taxonomy" --by genus
bad 2 'has no classes' eval fresh --real real --no-classes --by class
bad 2 '.html' eval fresh --real real --report page.txt
bad 2 'give the pictures to measure' eval
bad 2 'give one of the two' eval fresh --real real --stats real.npz
bad 2 '"fid" is not a metric; did you mean fd?' eval fresh --real real --metrics fid
bad 2 'give --real' eval fresh --metrics kid
bad 2 'not a feature network that is known' eval fresh --real real --features incepton
bad 1 'is not a classifier' eval fresh --real real --features "judge:$source/data/base.safetensors"
bad 1 'not in the taxonomy' eval fresh --real same
bad 2 "class \"A/hand\" is not one of those that are compared" eval fresh.safetensors --real same
bad 2 'has 12; take the same' eval "$source/tests/fixtures/eval/statistics.npz" --real real.safetensors
bad 2 'has 12 features a picture' eval real.safetensors --stats "$source/tests/fixtures/eval/statistics.npz"
bad 1 'which is not read' eval "$source/tests/fixtures/eval/objects.npz" --real real
mkdir -p few/A/mono
cp "$copy" few/A/mono/1.png
bad 2 'too few' eval few --real real --taxonomy "$taxonomy" --metrics precision
bad 2 'the pictures are in colour, but judge was made for grey' eval "$source/tests/cases/in/dotted" --real real --no-classes
printf 'PK\3\4nothing' >broken.npz
bad 1 "broken.npz" eval broken.npz --real real.safetensors
bad 2 'choose another place' eval fresh --real real --stats-out real/x.npz
bad 2 '.npz' eval fresh --stats-out stats.txt
mkdir -p single/A/mono
cp "$copy" single/A/mono
bad 2 'a covariance needs two pictures, and single has one' eval single --metrics none --stats-out single.npz
good encode real cache16 --size 16 --channels 1 --flip none --quiet
bad 2 'cache16 holds pictures of 1 x 16 x 16 and judge takes 1 x 24 x 24' eval cache16 --real real
finish
