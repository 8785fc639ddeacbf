# SPDX-License-Identifier: Apache-2.0
# Tables as data bases and people write them: bars, single quotes, columns in the wrong order, capitals.
D=$IN/tax/d # parus major, parus ater, strix aluco
printf 'class|genus\nparus major|Parus\nparus ater|Parus\nstrix aluco|Strix\n' >bars.txt
printf '| class | genus |\n|-------|:-----:|\n| parus major | Parus |\n| parus ater | Parus |\n| strix aluco | Strix |\n' \
    >markdown.md
printf ' class | genus \n-------+-------\n parus major | Parus\n parus ater | Parus\n strix aluco | Strix\n' >psql.txt
printf "class,genus\n'parus major','Parus'\n'parus ater','Parus'\n'strix aluco','Strix'\n" >single.csv
printf "'class';'genus'\n'parus major';'Parus'\n'parus ater';'Parus'\nstrix aluco;Strix\n" >single-header.csv
printf "class\tgenus\n'parus major'\t'Parus'\n'parus ater'\t'Parus'\n'strix aluco'\t'Strix'\n" >single.tsv
for table in bars.txt markdown.md psql.txt single.csv single-header.csv single.tsv; do
    ends 0 "$FD" inspect "$D" --taxonomy $table
    prints 'rank +genus: 2 groups'
    silent warning
    ends 0 "$FD" inspect "$D" --taxonomy $table --classes
    prints '^parus ater.Parus.' '^strix aluco.Strix.'
done
# a separator within the quotes, and quotes that belong to names
mkdir -p q/a q/b
cp "$IN/data/owls/a/0.png" q/a
cp "$IN/data/owls/a/1.png" q/b
printf "class,g\na,'x, y''s'\nb,'Iiwi\n" >within.csv
ends 0 "$FD" inspect q --taxonomy within.csv --classes
prints "^a.x, y's" "^b.'Iiwi"
printf "class\tg\na\t'x'\nb\ty\n" >own.tsv
ends 0 "$FD" inspect q --taxonomy own.tsv --classes
prints "^a.'x'"
# class and group in the wrong columns
printf 'genus,class\nParus,parus major\nParus,parus ater\nStrix,strix aluco\n' >reversed.csv
ends 1 "$FD" inspect "$D" --taxonomy reversed.csv
says 'reversed.csv:3: class "Parus" is there twice; .* put the column "class"'
printf 'g,class\nx,a\ny,b\n' >single-groups.csv
ends 1 "$FD" inspect q --taxonomy single-groups.csv
says 'class folders \("a"\) are in the column "class" of the taxonomy.*put the columns in the order'
# a class that is there twice is not taken for that
printf 'class,g\na,x\nb,x\na,x\n' >twice.csv
ends 1 "$FD" inspect q --taxonomy twice.csv
says 'class "a" is there twice; remove one$'
# capitals: two groups, with a warning by name
printf 'class,genus\nparus major,Parus\nparus ater,parus\nstrix aluco,Strix\n' >capitals.csv
ends 0 "$FD" inspect "$D" --taxonomy capitals.csv
says 'capitals.csv: the groups "Parus" and "parus" of genus differ in capitals only'
prints 'rank +genus: 3 groups'
mkdir -p f/Owls f/owls
cp -r q/a f/Owls/a
cp -r q/b f/owls/b
ends 0 "$FD" inspect f
says 'the groups "Owls" and "owls" of level1 differ in capitals only'
