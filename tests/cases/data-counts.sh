# SPDX-License-Identifier: Apache-2.0
# sample --counts FILE: a table with a header, as sheets write it; what is wrong in it is told with its line.
from=$IN/earlier-homonyms
draw="--base $from/base.safetensors --delta $from/run/delta.safetensors"
printf 'class,count\r\n"a",2\r\nd,1\r\n' >n.csv
ends 0 small_sample $draw --counts n.csv --out s
holds test -f s/a/a-1.png -a -f s/d/d-0.png
absent s/b s/d/d-1.png
printf 'species\tgenus\tcount\na\tx\t2\n' >n.tsv
ends 2 small_sample $draw --counts n.tsv --out t
says 'n.tsv:2: '
printf 'class,count\na,two\n' >n.csv
ends 2 small_sample $draw --counts n.csv --out t
says 'n.csv:2: a class and a count from 0 to 2147483647 are needed'
printf 'class,count\n' >n.csv
ends 2 small_sample $draw --counts n.csv --out t
says 'n.csv: no class in it'
absent t
