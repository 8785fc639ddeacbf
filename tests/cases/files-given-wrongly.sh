# SPDX-License-Identifier: Apache-2.0
# A file in the place of another: each is named for what it is, with what to do, and nothing is written.
O="$IN/other-files"
J="$FDIT_SRCDIR/data/judge.safetensors"
D="--device cpu --quiet"
M="--model 32,1,2,4"
# a checkpoint as pictures: torch, safetensors, a pickle of before, folders of models
for file in "$IN/ckpt/ok.pt" "$J" "$IN/ckpt/vae-ldm-names.ckpt" "$O/optimizer.pt" "$IN/ckpt/metadata-null.safetensors"; do
    cp "$file" disguised.tar
    for data in "$file" disguised.tar; do
        ends 1 "$FD" train --from-scratch --tune full --model 32,1,2,4 --size 16 --channels 3 --steps 5 $D --data "$data" --out run
        one_line
        says 'train: .*: is a (torch|safetensors) file, not a data set; a checkpoint is given with --base, and as --data a folder'
        ends 1 "$FD" encode "$data" cache --size 16 $D
        one_line
        says 'encode: .*: is a (torch|safetensors) file, not a data set; a checkpoint is given with --base'
    done
    ends 1 small_run --data "$IN/data" --val "$file" --steps 5 --out run
    says 'not a data set; a checkpoint is given with --base'
done
for folder in pipeline vae-ok bin-shards variant; do
    ends 1 "$FD" encode "$IN/ckpt/$folder" cache --size 16 $D
    says 'encode: .*: no picture in it .*(safetensors|torch).*; a checkpoint is given with --base'
    ends 1 small_run --data "$IN/ckpt/$folder" --steps 5 --out run
    says 'train: .*: no picture in it .*; a checkpoint is given with --base'
done
ends 0 "$FD" inspect disguised.tar $M
prints checkpoint
# pictures in a zip
ends 1 small_run --data "$O/pictures.zip" --steps 5 --out run
one_line
says 'train: .*pictures.zip: is a zip archive, not a data set; unpack it with "unzip" and give the folder$'
ends 1 "$FD" encode "$O/pictures.zip" cache --size 16 $D
says 'unpack it with "unzip" and give the folder$'
wrong_base() { # FILE WORDS: as --base, --in and to inspect
    file=$1
    shift
    ends 1 "$FD" sample --base "$file" --steps 2 $D --out pictures
    one_line
    says "$@"
    ends 1 "$FD" sample --base "$file" $M --guide none --steps 2 $D --out pictures
    says "$@"
    ends 1 "$FD" train --base "$file" --data "$IN/data" --batch 4 --steps 5 $D --out run
    one_line
    says "$@"
    ends 1 "$FD" train --base "$file" $M --data "$IN/data" --size 16 --batch 4 --steps 5 $D --out run
    says "$@"
    ends 1 "$FD" convert "$file" out.safetensors $M
    says "$@"
    ends 1 "$FD" inspect "$file"
    one_line
    says "$@"
}
wrong_base "$O/pictures.zip" 'is a zip archive without data.pkl, not a torch file; if it holds pictures, unpack it and give the folder as --data'
for file in optimizer.pt opt-inside.pt sgd.pt optimizer-new.pt; do
    wrong_base "$O/$file" "$file: holds the state of an optimizer and no (weights of a DiT|tensor); give the file with the model's state_dict\\(\\)"
done
wrong_base "$O/scheduler.pt" "holds no tensor, so it is not a checkpoint; give the file with the model's state_dict"
wrong_base "$O/resnet.pt" 'holds 3 tensors \(conv1.weight, ...\), and no weights of a DiT; give the checkpoint of a class-conditional DiT'
for command in "convert $IN/ckpt/vae-ldm-names.ckpt out.safetensors" "sample --base $IN/ckpt/vae-ldm-names.safetensors --out pictures"; do
    ends 1 "$FD" $command
    says 'holds an autoencoder, which is given with --vae, and no weights of a DiT'
done
# a classifier, whatever else is said of the model
for more in "" "--model 72,5,3,3" "--model 72,5,3,3 --guide none"; do
    ends 2 "$FD" sample --base "$J" $more --steps 2 $D --out pictures
    one_line
    says 'sample: --base .*judge.safetensors is a classifier; give a diffusion model'
done
for more in "" "--model 72,5,3,3" "--size 16" "--channels 3"; do
    ends 2 "$FD" train --base "$J" $more --data "$IN/data" --batch 4 --steps 5 $D --out run
    one_line
    says 'train: --base .*judge.safetensors is a classifier; give a diffusion model'
done
ends 0 "$FD" inspect "$J" --model 72,5,3,3
prints classifier
absent run cache pictures out.safetensors
# weights and pictures in each other's place
for data in "$IN/data" "$FDIT_SRCDIR/data/letters-test.tar.gz" "$IN/data/owls/a/0.png"; do
    for base in "$IN/ckpt/ok.pt" "$IN/ckpt/pipeline" "$FDIT_SRCDIR/data/base.safetensors"; do
        ends 2 "$FD" train --base "$data" --data "$base" --steps 2 $D --out run
        says "train: --base $data and --data $base seem to be swapped" && one_line
    done
    ends 2 "$FD" encode "$IN/ckpt/vae-ok" cache --vae "$data" $D
    says "encode: --vae $data and DATA .*vae-ok seem to be swapped" && one_line
done
ends 1 "$FD" train --base "$IN/data" --data "$IN/data" --steps 2 $D --out run
silent swapped
absent run cache
