# SPDX-License-Identifier: Apache-2.0
# Names that look the same are the same, or an error; never two groups in silence.
if "$FD" inspect "$IN/tax/nfd" --taxonomy "$IN/tax/nfc.tsv" >/dev/null 2>&1; then
    ends 0 "$FD" inspect "$IN/tax/nfd" --taxonomy "$IN/tax/nfc.tsv"
    printf 'class\tg\nP\303\243o\tP\303\243\nb\tPa\314\203\n' >forms.tsv
    ends 1 "$FD" inspect "$IN/tax/nfd" --taxonomy forms.tsv
    says 'forms.tsv:3: .*differ only in Unicode normalisation'
fi
printf 'class\tgenus\nparus major\tParus x\nparus ater\tParus\302\240x\nstrix aluco\tStrix\n' >blanks.tsv
ends 1 "$FD" inspect "$IN/tax/d" --taxonomy blanks.tsv
says 'blanks.tsv:3: .*differ only in blanks'
printf 'class\tgenus\nparus major\tParus\nparus ater\tParus\302\240\nstrix aluco \tStrix\n' >ends.tsv
ends 0 "$FD" inspect "$IN/tax/d" --taxonomy ends.tsv
prints 'rank +genus: 2 groups'
# ranks in the samples' .json of a WebDataset: a warning as for tables and folders
if command -v tar >/dev/null; then
    mkdir w
    for i in 0 1; do
        cp "$IN/data/owls/a/$i.png" w/$i.png
        printf $i >w/$i.cls
    done
    printf '{"class":"tawny","id":0,"ranks":{"genus":"Strix"}}' >w/0.json
    printf '{"class":"ural","id":1,"ranks":{"genus":"strix"}}' >w/1.json
    tar cf capitals.tar -C w 0.png 0.cls 0.json 1.png 1.cls 1.json
    ends 0 "$FD" inspect capitals.tar
    says 'warning: capitals.tar: the groups "Strix" and "strix" of genus differ in capitals only'
    prints 'rank +genus: 2 groups'
    printf '{"class":"ural","id":1,"ranks":{"genus":"Bubo"}}' >w/1.json
    tar cf different.tar -C w 0.png 0.cls 0.json 1.png 1.cls 1.json
    ends 0 "$FD" inspect different.tar
    silent 'differ in capitals'
fi
