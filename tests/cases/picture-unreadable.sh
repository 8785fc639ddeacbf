# SPDX-License-Identifier: Apache-2.0
# A picture that the system does not give out (an input/output error, no permission) or that went away is one broken
# picture: named, and with --skip-bad left out and counted, in every command that reads pictures. Reading the memory of
# a process from its beginning is such an error, and it is a file.
[ -e /proc/self/mem ] || leave "needs /proc"
cp -R "$IN/data" d
ln -s /proc/self/mem d/gulls/a/bad.png
ln -s nowhere d/gulls/b/gone.png
ln -s loop.png d/owls/a/loop.png
unreadable='d/gulls/a/bad.png: cannot be read: Input/output error'
ends 1 "$FD" inspect d --pictures
says "skipped: $unreadable" '2 links to nowhere left out: "gone.png", "loop.png"'
ends 1 small_run --data d --steps 10 --out run
says "train: $unreadable; or leave out such pictures with --skip-bad"
ends 0 small_run --data d --steps 10 --out run --resume --skip-bad
says "warning: skipped: $unreadable"
ends 0 small_run --data d --steps 10 --out r2 --skip-bad --val 0.4 --seed 3
ends 0 small_run --data "$IN/data" --steps 5 --out r3 --skip-bad --val d
says "warning: skipped: $unreadable"
ends 0 "$FD" train --resume r3 --steps 7 --quiet
ends 1 "$FD" encode d c --size 16 --device cpu
says "encode: $unreadable; or leave out such pictures with --skip-bad"
for turn in first again; do
    ends 0 "$FD" encode d c --size 16 --device cpu --skip-bad
    says "warning: skipped: $unreadable" 'c: 16 pictures .* 1 broken'
    silent 'not what the cache holds'
done
# it can be read now, and has the size and the time that it had
rm d/gulls/a/bad.png
cp "$IN/data/gulls/a/0.png" d/gulls/a/bad.png
ends 0 "$FD" encode d c --size 16 --device cpu
says 'c: 17 pictures .* 0 broken'

# ------------------------------------------------------------------ eval
ends 0 "$FD" train --classifier --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 \
    --device cpu --quiet --data "$IN/data" --steps 3 --out judge
rm d/gulls/a/bad.png d/gulls/b/gone.png d/owls/a/loop.png
judge() { "$FD" eval "$1" --real "$2" --features judge:judge/delta.safetensors --device cpu --threads 1 --draws 0 ${3-}; }
ends 0 judge d "$IN/data" --json
settled() { sed 's/"memory": *{[^}]*},//; s/"skipped": *1,//' out; } # without what differs from run to run
settled >whole
# as without it, wherever it stands: before, between and behind the others, alone in the last batch
for batch in 1 3 32; do
    for place in gulls/a/0a gulls/b/9 owls/b/9; do
        ln -s /proc/self/mem "d/$place.png"
        ends 1 judge d "$IN/data" "--batch $batch"
        says "eval: d/$place.png: .*(Input/output error|is empty)"
        ends 0 judge d "$IN/data" "--batch $batch --json --skip-bad"
        prints '"skipped": *1'
        settled >without
        holds cmp whole without
        ends 0 judge "$IN/data" d "--batch $batch --skip-bad"
        prints 'd: 16 real pictures; 1 broken one was left out'
        rm "d/$place.png"
    done
done
echo 'no picture' >d/owls/b/9.png
ends 1 judge d "$IN/data"
says '9.png: .*; or leave out such pictures with --skip-bad'
ends 0 judge d "$IN/data" --skip-bad
prints 'd: 16 pictures, .*; 1 broken one was left out'
for file in d/*/*/*.png; do echo x >"$file"; done
ends 1 judge d "$IN/data" --skip-bad
says 'd: none of its 17 pictures can be read'

# a report also where all of them are broken
ends 1 "$FD" inspect d --pictures
prints 'pictures +17' 'd: 17 of 17 pictures cannot be decoded'
ends 1 "$FD" inspect d --pictures --json
prints '"pictures_decoded": 0'

# ------------------------------------------------------------------ no permission
rm -rf d && cp -R "$IN/data" d
chmod 0 d/gulls/a/1.png
as() { "$@"; }
if [ "$(id -u)" = 0 ]; then # who reads everything, unless he gives that up
    as() { setpriv --bounding-set -dac_override,-dac_read_search "$@"; }
    as true 2>/dev/null && ! as cat d/gulls/a/1.png >/dev/null 2>&1 || leave "the rest needs setpriv, or another user"
fi
ends 1 as "$FD" encode d held --size 16 --device cpu
says 'd/gulls/a/1.png: cannot be read: Permission denied; or leave out'
ends 0 as "$FD" encode d held --size 16 --device cpu --skip-bad
says 'held: 15 pictures .* 1 broken'
chmod 644 d/gulls/a/1.png # with the size and the time that it had
ends 0 as "$FD" encode d held --size 16 --device cpu --skip-bad
says 'held: 16 pictures .* 0 broken'
chmod 0 d/gulls/a/1.png
ends 0 as "$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 \
    --device cpu --quiet --data d --steps 6 --skip-bad --out denied
says 'warning: skipped: .*Permission denied'
chmod 644 d/gulls/a/1.png
