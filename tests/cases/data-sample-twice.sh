# SPDX-License-Identifier: Apache-2.0
# A sample that an archive has twice, as tar -r makes it, is told for what it is: the same picture name again, another
# class id; not as pictures of which it is not clear which is meant.
needs tar
mkdir w
i=0
for class in gulls/a gulls/b owls/a; do
    for k in 0 1; do
        cp "$IN/data/$class/$k.png" "w/$i$k.png"
        echo $i >"w/$i$k.cls"
    done
    i=$((i + 1))
done
tar cf once.tar -C w .
ends 0 "$FD" inspect once.tar
again() { # NAME MEMBER...: once.tar with these members once more
    name=$1
    shift
    cp once.tar "$name.tar"
    tar rf "$name.tar" -C w "$@"
}
again same ./00.png ./00.cls
cp w/11.png w/00.png
again other ./00.png
for name in same other; do
    ends 1 "$FD" inspect $name.tar
    says "inspect: $name.tar: 1 sample is there twice, a picture of the same name again: \"00\"; make the archive anew"
    silent 'several pictures'
    ends 1 small_run --data $name.tar --steps 1 --out run
    says "train: $name.tar: 1 sample is there twice"
done
again two ./00.png ./21.png ./10.png
ends 1 "$FD" inspect two.tar
says 'two.tar: 3 samples are there twice'
echo 7 >w/10.cls
again id ./10.cls
ends 1 "$FD" inspect id.tar
says 'id.tar:10.cls: the sample is there twice, with class ids 1 and 7; make the archive anew'
# the same id again: nothing is unclear
again sameid ./20.cls
ends 0 "$FD" inspect sameid.tar
prints 'pictures +6'
# two pictures of two names: that is another thing
cp w/00.png w/00.jpg
again both ./00.jpg
ends 1 "$FD" inspect both.tar
says 'both.tar: 1 sample with several pictures, and it is not clear which is meant: "00"'
absent run
