# SPDX-License-Identifier: Apache-2.0
# What convert writes: numbers that the type holds, the kind of file that the ending names, a set of shards in one step.
M="--model 32,1,2,4"
for type in f16 bf16; do
    ends 1 "$FD" convert "$IN/ckpt/over-$type.pt" o.safetensors --type $type $M
    says "blocks.0.mlp.fc1.weight" "element 0 is" "largest number of" "--saturate"
    one_line
    ends 1 "$FD" convert "$IN/ckpt/over-$type.pt" o.pt --type $type $M
    ends 1 "$FD" convert "$IN/ckpt/over-$type.pt" o.safetensors.index.json --shard-size 20K --type $type $M
    holds sh -c '! ls o* .fdit-* 2>/dev/null'
    ends 0 "$FD" convert "$IN/ckpt/over-$type.pt" o.safetensors --type $type --saturate $M
    says "1 numbers? w[ae][a-z]+ beyond"
    ends 0 "$FD" inspect o.safetensors $M
    rm o.safetensors
done
ends 0 "$FD" convert "$IN/ckpt/over-f16.pt" o.safetensors --type bf16 $M
ends 0 "$FD" convert "$IN/ckpt/over-f16.pt" o.safetensors $M
says "in place of the file"
# sets of weights that are not there
ends 2 "$FD" convert "$IN/ckpt/raw-only.pt" e.safetensors --weights-from ema $M
says "--weights-from ema" "no averaged weights"
ends 0 "$FD" convert "$IN/ckpt/raw-only.pt" e.safetensors --weights-from raw $M
ends 0 "$FD" convert "$IN/ckpt/raw-only.pt" e.safetensors $M
# endings
ends 2 "$FD" convert "$IN/ckpt/ok.pt" o.dat $M
says "ending" "safetensors"
absent o.dat
for ending in pt pth bin ckpt; do
    ends 0 "$FD" convert "$IN/ckpt/ok.pt" "o.$ending" $M
    holds sh -c 'head -c 2 "$1" | grep -q PK' sh "o.$ending"
done
# shards: other numbers of them in turn, nothing of the ones before stays, another model's shards do
ends 0 "$FD" convert "$IN/ckpt/ok.pt" whole.safetensors $M
mkdir s
ends 0 "$FD" convert "$IN/ckpt/ok.pt" s/other.safetensors.index.json --shard-size 60K $M
other=$(ls s | wc -l)
for size in 20K 40K 20K; do
    ends 0 "$FD" convert "$IN/ckpt/ok.pt" s/m.safetensors.index.json --shard-size $size $M
    ends 0 "$FD" convert s/m.safetensors.index.json back.safetensors $M
    holds cmp back.safetensors whole.safetensors
    named=$(grep -o 'm[^"]*\.safetensors"' s/m.safetensors.index.json | sort -u | wc -l)
    holds test "$(ls s | wc -l)" = $((named + 1 + other))
done
# an input is not written onto, whatever it is called
ends 2 "$FD" convert s/m.safetensors.index.json s/m.safetensors.index.json $M
ln -s whole.safetensors link.safetensors
ends 2 "$FD" convert whole.safetensors link.safetensors $M
