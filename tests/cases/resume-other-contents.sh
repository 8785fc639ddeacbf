# SPDX-License-Identifier: Apache-2.0
# Data, classes or base that are not those of the run's beginning are refused by name, whatever they are called,
# and the run stays as it is.
cp -R "$IN/data" good
ends 0 small_run --data good --steps 5 --out begun
refused() { # refused PATTERN...: --resume with the data in d
    rm -rf run
    cp -R begun run
    ends 2 small_run --data d --steps 10 --out run --resume
    says "$@" && one_line
    holds diff -r begun run
    rm -rf d
    cp -R good d
}
cp -R good d
mv d/gulls d/zgulls
refused 'train: --resume: the classes are not those that the run began with: .*"gulls/a" and "owls/a"'
mv d/gulls/a d/gulls/c # the same place in the list
refused 'the classes are not those' 'gulls/a'
mkdir d/terns
mv d/gulls/b d/terns/b
refused 'the classes are not those'
cp -R d/owls/b d/owls/c
refused 'the classes are not those'
first=$(ls d/gulls/a | head -n 1)
rm "d/gulls/a/$first"
refused 'd has other pictures than when the run began: 1 of 4 classes differ, gulls/a had [0-9]* and has [0-9]*; .*--data-changed'
cp "d/gulls/a/$first" d/owls/a/extra.png
refused '1 of 4 classes differ, owls/a had [0-9]* and has [0-9]*'
mv "d/gulls/a/$first" d/owls/a/moved.png
refused '2 of 4 classes differ, gulls/a had'
mv "d/gulls/a/$first" d/gulls/a/zz.png
refused '1 of 4 classes differ, of gulls/a names or contents'
cat "d/owls/b/$(ls d/owls/b | head -n 1)" >"d/gulls/a/$first"
refused '1 of 4 classes differ, of gulls/a names or contents'
mv d/gulls/a x && mv d/gulls/b d/gulls/a && mv x d/gulls/b
refused '2 of 4 classes differ'
# asked for, it goes on, and says that it is another run from there on
rm "d/gulls/a/$first"
cp -R begun run2
ends 0 small_run --data d --steps 10 --out run2 --resume --data-changed
says 'd has other pictures than when the run began: from here on'
ends 0 "$FD" train --resume run2 --steps 12 --quiet
rm -rf d
cp -R good d
ends 2 small_run --data d --steps 2 --out new --data-changed
says '--data-changed goes with --resume'

# ------------------------------------------------------------------ a taxonomy
"$FD" inspect d --classes >t.tsv 2>/dev/null
head -n 1 t.tsv >back.tsv
tail -n +2 t.tsv | sed '1!G;h;$!d' >>back.tsv
tab=$(printf '\t')
sed "s/${tab}owls/${tab}gulls/" t.tsv >merged.tsv
holds sh -c '! cmp -s t.tsv merged.tsv'
ends 0 small_run --data d --taxonomy t.tsv --steps 5 --out listed
cp -R listed kept
cp t.tsv same.tsv
ends 0 small_run --data d --taxonomy same.tsv --steps 6 --out listed --resume
for other in back merged; do
    rm -rf listed
    cp -R kept listed
    cp $other.tsv t.tsv
    ends 2 small_run --data d --taxonomy t.tsv --steps 10 --out listed --resume
    says 'the classes are not those that the run began with'
    holds diff -r kept listed
    cp same.tsv t.tsv
done

# ------------------------------------------------------------------ a base, a start
ends 0 small_run --data d --steps 2 --seed 1 --out b1
ends 0 small_run --data d --steps 2 --seed 2 --out b2
cp b1/delta.safetensors base.safetensors
tune() { "$FD" train --batch 4 --threads 1 --device cpu --quiet --checkpoint-every 5 --data d "$@"; }
ends 0 tune --base base.safetensors --steps 5 --out tuned
cp -R tuned kept2
cp b1/delta.safetensors another-name.safetensors
ends 0 tune --base another-name.safetensors --steps 6 --out tuned --resume
rm -rf tuned
cp -R kept2 tuned
cp b2/delta.safetensors base.safetensors
ends 2 tune --base base.safetensors --steps 10 --out tuned --resume
says '--resume: --base .*base.safetensors holds other numbers than the file that the run began with' && one_line
ends 2 "$FD" train --resume tuned --steps 10
says 'holds other numbers'
holds diff -r kept2 tuned
# one number of it, in a part that is trained
cp b1/delta.safetensors base.safetensors
size=$(wc -c <base.safetensors)
printf '\101' | dd of=base.safetensors bs=1 seek=$((size - 5)) conv=notrunc 2>/dev/null
ends 2 tune --base base.safetensors --steps 10 --out tuned --resume
says 'holds other numbers'
cp b1/delta.safetensors base.safetensors
ends 0 tune --base base.safetensors --delta kept2/delta.safetensors --steps 5 --out grown
ends 0 tune --base base.safetensors --steps 5 --seed 4 --out other-start
cp other-start/delta.safetensors kept2/delta.safetensors
ends 2 "$FD" train --resume grown --steps 10
says '--resume: --delta .*kept2/delta.safetensors holds other numbers'
ends 2 tune --base base.safetensors --steps 10 --out grown --resume --delta other-start/delta.safetensors
says 'holds other numbers'

# ------------------------------------------------------------------ a run of an older version
rm -rf old
cp -R begun old
sed 's/"made_of":.*/"x":0}/' begun/config.json | tr -d '\n' | sed 's/"run":{[^}]*},//; s/"places":{[^}]*},//' >old/config.json
cp -R old old2
ends 0 small_run --data d --steps 10 --out old --resume
says 'warning: old was begun by a version that did not note what its data hold'
mv d/gulls d/zgulls
ends 2 small_run --data d --steps 10 --out old2 --resume
says 'the checkpoint has other classes'
