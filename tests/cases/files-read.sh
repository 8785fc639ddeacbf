# SPDX-License-Identifier: Apache-2.0
# Checkpoints as peers write them: each is read, whatever its name, nesting, wrappers and what lies beside the weights.
M="--model 32,1,2,4"
ends 0 "$FD" convert "$IN/ckpt/ok.pt" ok.safetensors $M
ends 0 "$FD" convert "$IN/ckpt/raw-only.pt" raw.safetensors $M
for file in ddp-compile.pt metadata-null.safetensors metadata-nul-char.safetensors checkpoint.pth.tar variant \
    defaultdict-int.pt torch-version.pt net-prefix.pt bin-shards bin-shards/diffusion_pytorch_model.bin.index.json; do
    ends 0 "$FD" convert "$IN/ckpt/$file" out.safetensors $M
    holds test -s out.safetensors
    ends 0 "$FD" inspect out.safetensors $M
    ends 0 "$FD" inspect "$IN/ckpt/$file" $M
    prints "checkpoint" "32,1,2,4"
    rm -f out.safetensors
done
# a file whose members in the zip have more than 92 characters before data.pkl
stem=DiT-S_finetuned_inat2021_lr1e-4_bs256_ema0.9999_finetuned_inat2021_lr1e-4_bs256_ema0.9999_step100000
cp "$IN/ckpt/long-stem.pt" "$stem.pt"
ends 0 "$FD" convert "$stem.pt" out.safetensors $M
# the ending says nothing: content does
cp ok.safetensors really-safetensors.ckpt
cp "$IN/ckpt/ok.pt" really-torch.safetensors
for file in really-safetensors.ckpt really-torch.safetensors; do
    ends 0 "$FD" convert "$file" out.safetensors $M
    holds cmp out.safetensors ok.safetensors
done
