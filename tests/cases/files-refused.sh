# SPDX-License-Identifier: Apache-2.0
# Files that are not weights, or of a model that is computed in another way, are refused for what they are.
M="--model 32,1,2,4"
ends 1 "$FD" convert "$IN/ckpt/lfs-pointer.safetensors" out.safetensors $M
says "Git LFS pointer" "git lfs pull"
one_line
ends 1 "$FD" convert "$IN/ckpt/dit-exact-gelu" out.safetensors
says 'activation_fn' 'gelu-approximate'
one_line
ends 1 "$FD" convert "$IN/data/gulls/a/0.png" out.safetensors $M
says "is a PNG picture"
printf 'species\tgenus\n' >table.tsv
ends 1 "$FD" convert table.tsv out.safetensors $M
says "is a text"
ends 1 "$FD" convert "$IN/tars/wds-mask.tar" out.safetensors $M
says "is a tar archive" "--data"
# keys of a description that change how it computes
mkdir folder
cp "$IN/ckpt/dit-exact-gelu/diffusion_pytorch_model.safetensors" folder
base='"_class_name": "DiTTransformer2DModel", "attention_head_dim": 8, "num_attention_heads": 2, "in_channels": 4'
base="$base, \"num_layers\": 2, \"patch_size\": 2, \"sample_size\": 8, \"num_embeds_ada_norm\": 10"
echo "{$base, \"activation_fn\": \"gelu-approximate\", \"out_channels\": 8}" >folder/config.json
ends 0 "$FD" inspect folder
for wrong in '"norm_type": "ada_norm_single"' '"attention_bias": false' '"norm_elementwise_affine": true' \
    '"cross_attention_dim": 64' '"norm_eps": 0.1' '"out_channels": 4' '"activation_fn": "geglu"'; do
    echo "{$base, $wrong}" >folder/config.json
    ends 1 "$FD" inspect folder
    says "$(echo "$wrong" | sed 's/:.*//')" "supported"
done
echo '{"_class_name": "AutoencoderKL", "block_out_channels": [8]}' >folder/config.json
ends 1 "$FD" inspect folder
says "AutoencoderKL" "--vae"
absent out.safetensors
