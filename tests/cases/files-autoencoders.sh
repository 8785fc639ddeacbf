# SPDX-License-Identifier: Apache-2.0
# Autoencoders in the forms that people have: .bin, the names of the first code, a pipeline's folder. One that its
# description contradicts is refused.
encode() { "$FD" encode "$IN/data" "$1" --vae "$2" --size 16 --device cpu --quiet; }
ends 0 encode wanted "$IN/ckpt/vae-ok"
for vae in vae-bin vae-bin/diffusion_pytorch_model.bin pipeline; do
    ends 0 encode "c-$(basename "$vae")" "$IN/ckpt/$vae"
    rm -r "c-$(basename "$vae")"
done
# the names of the first code behind a prefix, as in the file of a whole pipeline
ends 0 encode c "$IN/ckpt/vae-first-names/model.ckpt"
for shard in wanted/*.fdc; do
    holds cmp "$shard" "c/$(basename "$shard")"
done
rm -r c
# how many groups the norms have stands in config.json only; names of no known kind are refused
cp "$IN/ckpt/vae-first-names/model.ckpt" .
ends 1 encode c model.ckpt
says "autoencoder" "norm_num_groups" "config.json"
cp "$IN/ckpt/vae-ok/config.json" "$IN/ckpt/vae-ldm-names.safetensors" .
ends 1 encode c vae-ldm-names.safetensors
says "is missing"
absent c
ends 0 "$FD" inspect "$IN/ckpt/vae-ok"
prints "autoencoder" "latents" "4 channels"
ends 0 "$FD" inspect "$IN/ckpt/pipeline/vae" --json
prints '"kind": "autoencoder"'
# descriptions that contradict the tensors, and scales that no latents have
cp -r "$IN/ckpt/vae-ok" bad
config=$(tr -d '\n' <"$IN/ckpt/vae-ok/config.json")
for change in 's/"mid_block_add_attention": true/"mid_block_add_attention": false/' \
    's/"use_quant_conv": true/"use_quant_conv": false/' 's/"use_post_quant_conv": true/"use_post_quant_conv": false/' \
    's/"scaling_factor": [0-9.]*/"scaling_factor": 0/' 's/"scaling_factor": [0-9.]*/"scaling_factor": -1/' \
    's/"scaling_factor": [0-9.]*/"scaling_factor": 1e18/' 's/"scaling_factor": [0-9.]*/"scaling_factor": 1e999/' \
    's/"act_fn": "silu"/"act_fn": "gelu"/' 's/"norm_num_groups": [0-9]*/"norm_num_groups": 3/' \
    's/"layers_per_block": [0-9]*/"layers_per_block": 3/'; do
    echo "$config" | sed "$change" >bad/config.json
    holds sh -c '! cmp -s bad/config.json "$1"' sh "$IN/ckpt/vae-ok/config.json"
    ends 1 encode c bad
    one_line
    absent c
    ends 1 "$FD" inspect bad
done
