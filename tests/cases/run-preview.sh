# SPDX-License-Identifier: Apache-2.0
# A preview that cannot be written does not end a run; one that was interrupted is made up.
cp -R "$IN/data" d
run() { small_run --data d --preview-every 5 "$@"; }
ends 0 run --steps 10 --out whole
holds test -s whole/previews/step-10.png
ends 0 run --steps 5 --out run
rm -r run/previews
mkdir -p run/previews/step-10.png # a folder is in the way, as a full disk would be
ends 0 run --steps 10 --out run --resume
says 'warning: run/previews/step-10.png: .*; the training goes on without this preview'
holds cmp whole/delta.safetensors run/delta.safetensors
holds cmp whole/previews/step-5.png run/previews/step-5.png # made up
rmdir run/previews/step-10.png
ends 0 "$FD" train --resume run --quiet
holds cmp whole/previews/step-10.png run/previews/step-10.png
if [ "$(id -u)" = 0 ] && mkdir disk && mount -t tmpfs -o size=2m none disk 2>/dev/null; then
    # full but for what a log needs: the checkpoint at the end fails
    ends 0 run --steps 4 --out disk/run
    dd if=/dev/zero of=disk/room bs=1k count=64 2>/dev/null
    dd if=/dev/zero of=disk/fill bs=1k 2>/dev/null
    rm disk/room
    ends 1 run --steps 10 --preview-every 0 --checkpoint-every 0 --out disk/run --resume
    says 'train: disk/run/checkpoints/step-10.safetensors: .*No space left.*; make room, then train --resume disk/run goes on from disk/run/checkpoints/step-4'
    rm disk/fill
    ends 0 "$FD" train --resume disk/run --quiet
    holds cmp whole/delta.safetensors disk/run/delta.safetensors
    holds test "$(grep -c '"loss"' disk/run/log.jsonl)" -eq 10
    umount disk
fi
