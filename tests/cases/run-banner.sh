# SPDX-License-Identifier: Apache-2.0
# What a run is, before its first step; what it was, behind the last.
cp -R "$IN/data" d
train() {
    "$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 --device cpu "$@"
}
ends 0 train --data d --val 0.25 --val-pictures 3 --steps 6 --out run
says '^ *device .*1 thread, f32' '^ *model .*width 32, depth 1.*from scratch' '^ *trained .* of .* parameters .*full' \
    '^ *data .*d: 12 pictures of 4 classes in 2 groups' '^ *validation .*3 of 4 pictures' '^ *steps .*6 of 4 pictures, 3 an epoch' \
    '^ *memory .*planned' '^ *writes .*run' 'validation mse .* of 3 pictures' 'in all'
ends 0 train --data d --steps 2 --out quiet --quiet
holds test ! -s err
ends 0 train --data d --steps 2 --out json --json
prints '"done":true' '"val_pictures":0' '"nothing_to_do":false'
