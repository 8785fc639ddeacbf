# SPDX-License-Identifier: Apache-2.0
# A delta that is not whole, or not for this model, is refused by everything that takes one, with the same words.
ends 0 small_run --data "$IN/data" --steps 2 --preview-every 0 --out b
cp b/delta.safetensors base.safetensors
tuned() {
    "$FD" train --base base.safetensors --data "$IN/data" --batch 4 --threads 1 --device cpu --quiet --preview-every 0 \
        --val "$IN/data" "$@"
}
ends 0 tuned --steps 2 --out r
cp r/delta.safetensors good.safetensors
ends 0 "$FD" inspect good.safetensors
prints "base +base.safetensors, fingerprint [0-9a-f]{8}" "validation +mse" "precision" "steps +2"
ends 0 "$FD" inspect good.safetensors --json
prints '"fingerprint"' '"validation"' '"trained_steps": 2'
# one tensor under another name; a class less in the taxonomy; another number of rows by the guide
LC_ALL=C sed 's/blocks\.0\.attn\.qkv\.bias/blocks.0.attn.qkv.bibs/' good.safetensors >lacks.safetensors
LC_ALL=C sed 's/\\"gulls\/b\\",/            /' good.safetensors >shifted.safetensors
LC_ALL=C sed 's/"guide":"level1"/"guide":"empty" /' good.safetensors >guide.safetensors
for bad in lacks shifted guide; do
    holds sh -c '! cmp -s "$1" good.safetensors' sh $bad.safetensors
    ends 1 "$FD" inspect $bad.safetensors
    cp err wanted
    ends 1 small_sample --base base.safetensors --delta $bad.safetensors --out s
    ends 1 "$FD" convert base.safetensors m.safetensors --merge $bad.safetensors
    ends 1 tuned --delta $bad.safetensors --steps 1 --out t
    one_line
    holds test "$(sed 's/.*: \(the\|a\) /\1 /' err)" = "$(sed 's/.*: \(the\|a\) /\1 /' wanted)"
    absent s m.safetensors t/delta.safetensors
done
# of another model
ends 0 "$FD" train --from-scratch --tune full --model 48,1,2,4 --size 16 --channels 3 --batch 4 --threads 1 \
    --device cpu --quiet --preview-every 0 --data "$IN/data" --steps 1 --out w
for command in "small_sample --base w/delta.safetensors --delta good.safetensors --out s" \
    "$FD convert w/delta.safetensors m.safetensors --merge good.safetensors" \
    "$FD convert base.safetensors m.safetensors --base w/delta.safetensors --delta"; do
    # shellcheck disable=SC2086
    ends 1 $command
    says "of different models" "width"
    one_line
done
# a delta where a base is wanted
ends 2 "$FD" train --base good.safetensors --data "$IN/data" --steps 1 --device cpu --out t
says "holds only what fine-tuning trained; give it as --delta"
cp err wanted
ends 2 small_sample --base good.safetensors --out s
says "holds only what fine-tuning trained; give it as --delta"
