# SPDX-License-Identifier: Apache-2.0
# Files of version 0.1.0, for which genus y of the families F and G was one group: they keep their rows,
# whatever the taxonomy that they were made from means now.
from=$IN/earlier-homonyms
cp -r "$from/run" "$from/pictures" "$from/tree.tsv" "$from/cache" "$from/base.safetensors" . && chmod -R u+w .
of_base="--base base.safetensors --device cpu --threads 1 --quiet"
grow="train $of_base --data pictures --tune table --batch 4 --steps 1 --superclass genus"

ends 0 "$FD" inspect run/delta.safetensors
prints 'table of 9 rows' 'genus: 3 groups' 'family: 2 groups'
draw="--base base.safetensors --delta run/delta.safetensors --per-class 1"
ends 0 small_sample $draw --out s
ends 0 small_sample $draw --taxonomy tree.tsv --out t
holds cmp s/a/a-0.png t/a/a-0.png

cp -r run newer
ends 0 "$FD" train --resume newer --steps 4 --device cpu --threads 1
says 'goes on with the 5 groups that it has'
ends 0 "$FD" inspect newer/delta.safetensors
prints 'table of 9 rows' 'genus: 3 groups'
ends 0 "$FD" train --resume newer --steps 6 --device cpu --threads 1 --quiet
# what the program of then made of the same four steps
ends 0 "$FD" train --resume run --steps 4 --device cpu --threads 1 --quiet
tail -c 288 run/delta.safetensors >rows
holds cmp "$from/rows-of-step-4" rows
sed -i 's/b\ty\tF/b\ty\tG/' tree.tsv
ends 2 "$FD" train --resume newer --steps 8 --device cpu --threads 1 --quiet
says 'the classes are not those that the run began with'
cp "$from/tree.tsv" .

# a new run from the old delta: both groups begin as the row that they had together
ends 0 "$FD" $grow --delta "$from/run/delta.safetensors" --taxonomy tree.tsv --out grown
says '2 groups .genus "F/y", .*#independent'
ends 0 "$FD" inspect grown/delta.safetensors
prints 'table of 10 rows' 'genus: 4 groups'
ends 0 "$FD" $grow --delta "$from/run/delta.safetensors" --taxonomy tree.tsv --out kept --old-classes keep
ends 0 "$FD" inspect kept/delta.safetensors
prints 'table of 10 rows' 'genus: 4 groups'
{ echo '#independent'; cat tree.tsv; } >one.tsv
ends 0 "$FD" $grow --delta "$from/run/delta.safetensors" --taxonomy one.tsv --out one
silent 'one group'
ends 0 "$FD" inspect one/delta.safetensors
prints 'table of 9 rows' 'genus: 3 groups'
# a new run is not taken for an old one: its taxonomy changed
ends 0 "$FD" $grow --taxonomy one.tsv --out fresh
sed -i '/#independent/d' one.tsv
ends 2 "$FD" train --resume fresh --steps 2 --device cpu --threads 1 --quiet
says 'the classes are not those that the run began with'

ends 0 "$FD" encode --pixels --size 8 --taxonomy tree.tsv pictures cache
says 'keeps the 5 groups' '8 there before'
ends 0 "$FD" train $of_base --data cache --tune table --batch 4 --steps 1 --superclass genus --out cached
ends 0 "$FD" inspect cached/delta.safetensors
prints 'table of 9 rows' 'genus: 3 groups'

ends 1 "$FD" convert --base base.safetensors --delta --tune table --taxonomy tree.tsv cached/delta.safetensors x.safetensors
