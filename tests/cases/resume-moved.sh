# SPDX-License-Identifier: Apache-2.0
# What is compared at --resume is what the data hold, not how their path is written; a run needs no more than
# its folder, and finds data that moved together with it.
cp -R "$IN/data" d
ends 0 small_run --data d --steps 10 --out whole
ends 0 small_run --data d --steps 5 --out begun
again() { # again FOLDER: a run that is at step 5, and lacks what stands behind
    rm -rf "$1"
    cp -R begun "$1"
}
same() { holds cmp whole/delta.safetensors "$1/delta.safetensors"; }
for data in d d/ ./d "$PWD/d" d/../d; do
    again run
    ends 0 small_run --data "$data" --steps 10 --out run --resume
    same run
done
# nothing but the run: from here, from elsewhere, with = and with --out
for words in "--resume run" "--resume=run" "--resume --out run" "--out run --resume" "--resume run --out run"; do
    again run
    ends 0 "$FD" train $words --steps 10 --quiet
    same run
done
again run
mkdir elsewhere
ends 0 sh -c 'cd elsewhere && exec "$1" train --resume ../run --steps 10 --quiet' sh "$FD"
same run
holds grep -q '"steps":10' run/config.json
ends 0 "$FD" train --resume run
says 'run: 10 of 10 steps were done before: nothing to do'
silent 'images/s' 'GFLOP'
# the whole place moved: another mount, another machine
mkdir place
cp -R d place/d
ends 0 sh -c 'cd place && exec "$1" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 \
    --threads 1 --device cpu --quiet --checkpoint-every 5 --data d --steps 5 --out run' sh "$FD"
mkdir other
mv place other/place
ends 0 "$FD" train --resume other/place/run --steps 10 --quiet
same other/place/run
# the data alone moved: one word says where
again run
mv d e
ends 2 "$FD" train --resume run --steps 10
says '^finediffusion: train: --data of the run no longer exists: .*/d; say with --data where it is now' && one_line
ends 0 "$FD" train --resume run --steps 10 --quiet --data e
same run
# and is kept for the next time
ends 0 "$FD" train --resume run --steps 12 --quiet
# an archive of the same folder is the same data
again run
tar cf d.tar -C e .
ends 0 "$FD" train --resume run --steps 10 --quiet --data d.tar
same run
# no run
ends 2 "$FD" train --resume nothing
says '^finediffusion: train: --resume: nothing holds no run' && one_line
absent nothing
ends 2 "$FD" train --resume
says 'which run\?'
ends 2 "$FD" train --resume run --out e2
says '--resume run and --out e2 are two runs'
absent e2
# options of a run for another one
mv e d
ends 0 "$FD" train --config whole/config.json --out second --quiet
same second
ends 0 "$FD" train --config whole/config.json --epochs 1 --seed 5 --out third --quiet
holds grep -q '"seed":5' third/config.json
holds test "$(grep -c '"loss"' third/log.jsonl)" -eq 4
