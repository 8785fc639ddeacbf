# SPDX-License-Identifier: Apache-2.0
# Pictures that are there but not whole, or not the ones that the job would make, are drawn again.
small_run --data "$IN/data" --steps 2 --out run
S="small_sample --base run/delta.safetensors --out s"
holds $S
cp -r s whole
a=s/gulls%2Fa/gulls%2Fa-0.png b=s/gulls%2Fb/gulls%2Fb-0.png c=s/owls%2Fa/owls%2Fa-0.png d=s/owls%2Fb/owls%2Fb-0.png
: >$a
truncate -s 60 $d
ends 0 $S
ends 0 $S --json
prints '"sampled":0,"kept":4'
holds diff -r whole s
# cut off by one byte; zeros in the middle as after a power cut; of another class; of another size
truncate -s -1 $a
dd if=/dev/zero of=$b bs=1 seek=100 count=40 conv=notrunc 2>/dev/null
cp $d $c
cp "$(ls -d "$IN"/data/*/*/*.png | head -n 1)" $d
ends 0 "$FD" sample --base run/delta.safetensors --sampler ddim --steps 2 --device cpu --threads 1 --out s
says '4 pictures of 4 classes: 4 sampled, 0 kept' 'not whole and drawn again'
holds diff -r whole s
# a link is replaced, not what it leads to
cp $a elsewhere.png
: >elsewhere.png
rm $a
ln -s "$PWD/elsewhere.png" $a
holds $S
holds test ! -s elsewhere.png
holds diff -r whole s
# a cut off archive
holds small_sample --base run/delta.safetensors --tar --out t
cp t/pictures-00000.tar whole.tar
truncate -s 2000 t/pictures-00000.tar
ends 0 small_sample --base run/delta.safetensors --tar --out t --json
prints '"sampled":4,"kept":0'
holds cmp whole.tar t/pictures-00000.tar
# a pipe in a picture's place is refused at once
rm $a
mkfifo $a
ends 1 $S
says 'pipe'
