# SPDX-License-Identifier: Apache-2.0
# A group is its path: one genus name in two families is two groups.
ends 0 "$FD" inspect "$IN/tax/homonyms" --taxonomy "$IN/tax/homonyms.json" --ranks genus,kingdom
prints 'rank +genus: 4 groups' 'rank +kingdom: 2 groups'
ends 0 "$FD" inspect "$IN/tax/homonyms" --taxonomy "$IN/tax/homonyms.json" --ranks genus --classes
prints 'Lamiaceae/Prunella' 'Prunellidae/Prunella'
mkdir -p d/1 d/2 d/3
for i in 1 2 3; do cp "$IN/data/owls/a/$i.png" d/$i; done
printf 'class\tmodel\tmaker\n1\tGolf\tA\n2\tGolf\tB\n3\tCorsa\tA\n' >cars.tsv
ends 0 "$FD" inspect d --taxonomy cars.tsv --ranks model
prints 'rank +model: 2 groups'
printf 'class\tmodel\tmaker\n1\tGolf\tA\n2\tGolf\tB\n3\tCorsa\tA\n4\tPolo\tA\n' >cars.tsv
ends 0 "$FD" inspect d --taxonomy cars.tsv --ranks model
says 'model "Golf" lies in several groups of maker.*#nested model,maker'
{ echo '#nested model,maker'; cat cars.tsv; } >told.tsv
ends 0 "$FD" inspect d --taxonomy told.tsv --ranks model
prints 'rank +model: 4 groups'
silent 'several groups'
