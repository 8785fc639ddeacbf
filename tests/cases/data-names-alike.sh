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
