# SPDX-License-Identifier: Apache-2.0
# Options that would do nothing with what they are given to: refused by name, with what to do.
cp -R "$IN/data" d
ends 0 small_run --data d --steps 3 --out base
S="$FD sample --base base/delta.safetensors --device cpu --threads 1 --quiet"
ends 2 $S --merge --out no
says '--merge is about the adapter of a delta; give --delta FILE'
ends 2 $S --top-up 6 --counts-of d --per-class 3 --out no
says '--per-class 3 and --top-up 6: give one of the two'
# a picture drawn again is what it says it is
ends 0 $S --sampler ddim --steps 2 --out drawn
P=drawn/gulls%2Fa/gulls%2Fa-0.png
for option in '--steps 3:was drawn with --steps 2, now it is 3' '--guidance 3:was drawn with --guidance 2' \
    '--guide none:was drawn with --guide "superclass:level1", now it is "none"' '--sampler ddpm:was drawn with --sampler' \
    '--classes #1:leave out --classes' '--per-class 2:leave out --per-class' '--seed 5:leave out --seed' \
    '--shard 0/2:leave out --shard'; do
    ends 2 $S --like $P --out no ${option%%:*}
    says "--like $P: .*${option#*:}" && one_line
done
ends 0 $S --like $P --steps 2 --sampler ddim --seed 0 --out again
holds cmp $P again/gulls%2Fa/gulls%2Fa-0.png
# pictures that are there are measured as they are
ends 0 small_run --classifier --data d --steps 3 --out judge
E="$FD eval drawn --real d --features judge:judge/delta.safetensors --device cpu --threads 1 --quiet"
for option in '--per-class 2' '--steps 2' '--guidance 2' '--classes all' '--sampler ddim'; do
    ends 2 $E $option
    says "eval: ${option%% *} is of pictures that are drawn, and drawn is there already; leave it out" && one_line
done
ends 0 $E --metrics none --features-out f.safetensors
silent 'kid' 'mean-dist'
ends 0 $E --metrics none --features-out f.npz
ends 2 "$FD" eval f.npz --real d --features judge:judge/delta.safetensors --device cpu --quiet
says 'f.npz: a .npz numbers its classes and keeps no names' '--no-classes' && one_line
ends 0 "$FD" eval f.npz --real d --features judge:judge/delta.safetensors --device cpu --quiet --no-classes --metrics mean-distance
# --delta of convert takes no file
ends 2 "$FD" convert base/delta.safetensors --delta base/delta.safetensors out.safetensors
says "convert: --delta takes no file: .*convert IN OUT --merge DELTA" && one_line
ends 2 "$FD" convert base/delta.safetensors
says 'convert: 1 files?; give two: IN and OUT'
absent no out.safetensors
# few pictures: what cannot be computed is left out, with a word, unless it was asked for by name
cp -R drawn few && rm -r few/owls%2F* few/manifest.jsonl few/run.json
ends 0 "$FD" eval few --real d --features judge:judge/delta.safetensors --device cpu --quiet
says '16 real and 2 generated pictures are too few for precision, recall, density, coverage, authenticity, nearest, left out'
prints '^kid:' '^fd:'
ends 2 "$FD" eval few --real d --features judge:judge/delta.safetensors --device cpu --quiet --metrics recall
says '--metrics recall: 16 real and 2 generated pictures are too few; it needs 4 of each'
# guidance that would begin behind the end, and one step that stands still
T="$FD train --base base/delta.safetensors --data d --batch 4 --threads 1 --device cpu --quiet"
ends 2 $T --steps 4 --learn-guidance 2 --learn-after 3 --out no
says '--learn-guidance begins at step 5, and the run has 4 steps; give more --steps or a smaller --learn-after' && one_line
ends 0 small_run --data d --steps 2 --objective flow --out flow
ends 2 "$FD" sample --base flow/delta.safetensors --device cpu --quiet --steps 1 --guidance-rule zero-star --out no
says 'zero-star stands still in the first step, so 1 step leaves the noise as it is; give more --steps' && one_line
absent no
