# SPDX-License-Identifier: Apache-2.0
# A limit of a file's size is told like a full disk: by name, nothing half-written, what was kept is whole.
cp -R "$IN/data" d
limited() { (ulimit -f "$1"; shift; "$@"); }
ends 1 limited 60 small_run --data d --steps 20 --out run
says '^finediffusion: train: run/checkpoints/step-5.safetensors: cannot write .*File too large' && one_line
holds sh -c '[ -z "$(ls -A run/checkpoints 2>/dev/null)" ]'
ends 0 small_run --data d --steps 5 --out base
ends 1 limited 4 "$FD" convert base/delta.safetensors half.safetensors --type f16
says 'half.safetensors: cannot write .*File too large'
ends 1 limited 4 small_sample --base base/delta.safetensors --guidance 1 --classes all --latents x.safetensors --out s --per-class 8
says 'x.safetensors: cannot write .*File too large'
ends 1 limited 60 small_sample --base base/delta.safetensors --out t --per-class 40 --tar
says 't/pictures-00000.tar: cannot write .*File too large; the pictures before it stay: make room, then the same command'
one_line
ends 0 small_sample --base base/delta.safetensors --out t --per-class 40 --tar
absent half.safetensors x.safetensors
holds sh -c '[ -z "$(find . -name ".fdit-*")" ]'
