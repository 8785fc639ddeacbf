# SPDX-License-Identifier: Apache-2.0
# Taxonomies as sheets and statistics programs write them are read, or told for what they are.
for table in comma.csv quoted.tsv utf16.tsv trailing-space.tsv tabs-line.tsv ok.tsv; do
    ends 0 "$FD" inspect "$IN/tax/d" --taxonomy "$IN/tax/$table"
    prints 'rank +genus: 2 groups'
    silent warning
done
printf 'sep=;\r\nclass;genus\r\n"parus major"; Parus\r\nparus ater;Parus\r\nstrix aluco;Strix\r\n' >semicolons.csv
printf ',class,genus\n0,parus major,Parus\n1,parus ater,Parus\n2,strix aluco,Strix\n' >pandas.csv
printf '"class" "genus"\n' >words.txt
for table in semicolons.csv pandas.csv; do
    ends 0 "$FD" inspect "$IN/tax/d" --taxonomy $table
    prints 'rank +genus: 2 groups'
done
ends 1 "$FD" inspect "$IN/tax/d" --taxonomy "$IN/tax/no-header.tsv"
says 'the first line of the taxonomy names its columns, but here it is the class "parus major"'
printf 'class\tgenus\nP\343o\tx\n' >latin1.tsv
ends 1 "$FD" inspect "$IN/tax/d" --taxonomy latin1.tsv
says 'latin1.tsv:2: is not UTF-8 .*save it as UTF-8'
ends 1 "$FD" inspect "$IN/tax/d" --taxonomy "$IN/data/owls/a/0.png"
says 'is a PNG picture, not a taxonomy'
printf 'class\tgenus\tfamily\nx\ty\tz\tw\n' >wide.tsv
ends 1 "$FD" inspect "$IN/tax/d" --taxonomy wide.tsv
says 'wide.tsv:2: more columns \(4\) than the header'
