# SPDX-License-Identifier: Apache-2.0
# Weights that are asked for by name are those, or the file is refused.
M="--model 32,1,2,4"
small_run --data "$IN/data" --steps 2 --out run --tune full
newest=run/checkpoints/step-2.safetensors
holds "$FD" convert run/delta.safetensors plain.safetensors
holds "$FD" convert run/delta.safetensors plain.pt
# no averaged weights
for file in plain.safetensors plain.pt "$IN/ckpt/raw-only.pt"; do
    ends 2 small_sample --base "$file" $M --out p --weights-from ema
    says "--weights-from ema: .*$(basename "$file") holds no averaged weights"
    one_line
    ends 2 small_sample --base "$file" $M --latents l.safetensors --weights-from ema
    ends 2 "$FD" convert "$file" o.safetensors $M --weights-from ema
    says "holds no averaged weights"
    absent p l.safetensors o.safetensors
    ends 0 "$FD" convert "$file" o.safetensors $M --weights-from raw
    ends 0 "$FD" convert "$file" o.safetensors $M
    rm o.safetensors
done
ends 0 small_sample --base plain.pt $M --guide none --out p --weights-from raw
# averaged ones only: what a run leaves
ends 2 small_sample --base run/delta.safetensors --out q --weights-from raw
says "--weights-from raw: run/delta.safetensors holds averaged weights only"
ends 2 "$FD" convert run/delta.safetensors o.safetensors --weights-from raw
says "averaged weights only"
absent q o.safetensors
ends 0 small_sample --base run/delta.safetensors --out q --weights-from ema
# both
for kind in ema raw; do
    ends 0 small_sample --base $newest --out $kind --weights-from $kind
    ends 0 "$FD" convert $newest $kind.safetensors --weights-from $kind
done
holds sh -c '! cmp -s ema.safetensors raw.safetensors'
# the delta is what is asked for, whatever the base holds
ends 0 "$FD" train --base plain.safetensors --data "$IN/data" --steps 2 --batch 4 --device cpu --quiet --out tuned
ends 0 small_sample --base plain.safetensors --delta tuned/delta.safetensors --out t --weights-from ema
ends 2 small_sample --base plain.safetensors --delta tuned/delta.safetensors --out u --weights-from raw
says "tuned/delta.safetensors holds averaged weights only"
ends 0 small_sample --base plain.safetensors --delta tuned/checkpoints/step-2.safetensors --out u --weights-from raw
ends 0 "$FD" convert plain.safetensors m.safetensors --merge tuned/delta.safetensors --weights-from ema
# averaged weights beside names without a prefix
needs python3
python3 - plain.safetensors beside.safetensors <<'X'
import json, struct, sys
data = open(sys.argv[1], 'rb').read()
size = struct.unpack('<Q', data[:8])[0]
names, numbers = json.loads(data[8:8 + size]), data[8 + size:]
names = {k: v for k, v in names.items() if k != '__metadata__'}
for name, t in list(names.items()):
    first, end = t['data_offsets']
    names['ema.' + name] = dict(t, data_offsets=[first + len(numbers), end + len(numbers)])
text = json.dumps(names).encode()
open(sys.argv[2], 'wb').write(struct.pack('<Q', len(text)) + text + numbers + bytes(len(numbers)))
X
for kind in ema raw; do
    ends 0 "$FD" convert beside.safetensors $kind.safetensors $M --weights-from $kind
    says '28 tensors beside the weights were left out'
done
holds sh -c '! cmp -s ema.safetensors raw.safetensors'
