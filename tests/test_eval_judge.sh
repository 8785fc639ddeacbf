#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A classifier of one's own: `train --classifier`, then what it says of the pictures that it has not seen, and what it
# takes for what, by class and by rank.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

mkdir data
gzip -dc "$source/data/letters-train.tar.gz" | (cd data && tar xf - A/mono A/hand B/mono B/hand) || exit 99
good train --classifier --from-scratch --tune full --model 16,1,2,3 --size 24 --channels 1 --data data --val 0.25 \
    --batch 8 --steps 4 --lr 1e-3 --out judge --quiet --preview-every 0

good eval --run judge --draws 0 --quiet --json --confusion confusion.tsv
n=$(sed -n 's/.*"generated":{[^}]*"pictures":\([0-9]*\).*/\1/p' stdout)
equal "pictures, a quarter of all" "$n" "$(find data -name '*.png' | awk 'END { print int(NR / 4 + 0.5) }')"
# each picture once in the table of the classes and once in that of the rank; right ones as the accuracy says
for rank in class level1; do
    equal "pictures by $rank" "$(awk -F '\t' -v r=$rank '$1 == r { n += $4 } END { print n + 0 }' confusion.tsv)" "$n"
    right=$(awk -F '\t' -v r=$rank '$1 == r && $2 == $3 { n += $4 } END { print n + 0 }' confusion.tsv)
    equal "right ones by $rank in the JSON" \
        "$(sed "s/.*\"confusion\":.*{\"rank\":\"$rank\",\"pictures\":$n,\"right\":\([0-9]*\),.*/\1/" stdout)" "$right"
    share=$(sed "s/.*\"accuracy top-1 $rank\":{[^}]*\"value\":\([^,]*\),.*/\1/" stdout)
    equal "accuracy by $rank" "$(awk -v s="$share" -v n="$n" 'BEGIN { printf "%.0f", s * n }')" "$right"
done
says confusion.tsv '^rank	is	said	pictures	of$'
# the same pictures by hand: the classifier over all of the data knows what it was trained on as well
good eval data --classifier judge/delta.safetensors --metrics accuracy --draws 0 --quiet --report judge.html
says stdout '^[0-9]* of 1[0-9]* pictures of the wrong class, most often$'
says stdout ' taken for '
says judge.html 'What the classifier takes for what, by level1'
says judge.html 'taken for</th><th>A</th><th>B</th>'

# coloured pictures, which the built-in judge does not take: the classifier's own features are compared
good train --classifier --from-scratch --tune full --model 16,1,2,3 --size 24 --channels 3 --batch 4 --steps 2 --lr 1e-3 \
    --data "$source/tests/cases/in/dotted" --out coloured --quiet --preview-every 0
good eval "$source/tests/cases/in/dotted" --classifier coloured/delta.safetensors --metrics accuracy --draws 0 --quiet --json
says stdout '"features":"judge:coloured/delta.safetensors".*"name":"accuracy top-1 class"'

# what cannot be
refused 'no~run' eval --run nowhere --metrics accuracy
refused '--confusion,class~folders' eval data --no-classes --confusion x.tsv --metrics none
printf '\100\0\0\0\0\0\0\0{"features":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}' >nan.safetensors
printf '\0\0\200\077\0\0\200\077\0\0\200\077\0\0\300\177' >>nan.safetensors
refused 'feature~1~of~picture~1~is~not~a~finite~number' eval nan.safetensors --metrics none
finish
