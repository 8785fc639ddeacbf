# SPDX-License-Identifier: Apache-2.0
# Samples of a WebDataset that are not what they should be are named.
T=$IN/tars
ends 1 "$FD" inspect "$T/wds-mask.tar"
says 'samples with several pictures, and it is not clear which is meant: "0", "1"'
ends 0 "$FD" inspect "$T/wds-orphan.tar"
says '2 .cls members without a picture: "1", "2"'
ends 1 "$FD" inspect "$T/wds-dotkey.tar"
says 'the key of a WebDataset sample ends at the first dot'
needs tar
# names of classes and ranks from the samples' .json, and from __taxonomy__
mkdir a
for i in 0 1; do
    cp "$IN/data/owls/a/$i.png" a/$i.png
    printf $((i + 5)) >a/$i.cls
done
printf '{"class":"tawny owl","id":5,"ranks":{"genus":"Strix"}}' >a/0.json
printf '{"class":"x.y/z","id":6,"ranks":{"genus":"Xus"}}' >a/1.json
tar cf named.tar -C a 0.png 0.cls 0.json 1.png 1.cls 1.json
ends 0 "$FD" inspect named.tar --classes
prints '^tawny owl.Strix' '^x.y/z.Xus'
printf '{"classes":["b","owl"],"ranks":[{"name":"g","groups":["q","r"],"of":[1,0]}]}' >a/__taxonomy__
printf 1 >a/0.cls
tar cf own.tar -C a __taxonomy__ 0.png 0.cls 0.json
ends 0 "$FD" inspect own.tar --classes
prints '^owl.q.1$'
silent '^b'
printf 10000000 >a/0.cls
tar cf high.tar -C a 0.png 0.cls 1.png 1.cls
ends 1 "$FD" inspect high.tar
says 'class id 10000000, with 2 pictures in all'
# .json and .cls that say different ids: a mistake is named; ids of something else give no names
mkdir j
members=
for i in 0 1 2 3; do
    cp "$IN/data/owls/a/1.png" j/$i.png
    printf $((i % 2)) >j/$i.cls
    printf '{"class":"c%s","id":%s}' $((i % 2)) $((i % 2)) >j/$i.json
    members="$members $i.png $i.cls $i.json"
done
printf '{"class":"c1","id":1}' >j/2.json
tar cf differ.tar -C j $members
ends 1 "$FD" inspect differ.tar
says '1 of 4 samples have another class id in .json than in .cls: differ.tar: 2.json has 1, and 2.cls 0'
printf '{"class":"c7","id":0}' >j/2.json
tar cf unclear.tar -C j $members
ends 1 "$FD" inspect unclear.tar
says '2.json: class 0 is "c7" here and "c0" in a sample before'
for i in 0 1 2 3; do printf '{"class":"owl","id":%s}' $((i + 90)) >j/$i.json; done
tar cf photos.tar -C j $members
ends 0 "$FD" inspect photos.tar --classes
says 'the id in the samples. .json is not that of their .cls .photos.tar: 0.json has 90, and 0.cls 0.'
prints '^0.2$' '^1.2$'
# endings in capitals, as the webdataset library takes them
mkdir u
cp "$IN/data/owls/a/0.png" u/0.PNG
cp "$IN/data/owls/a/1.png" u/1.PNG
printf 0 >u/0.CLS
printf 1 >u/1.CLS
tar cf upper.tar -C u 0.PNG 0.CLS 1.PNG 1.CLS
ends 0 "$FD" inspect upper.tar
prints 'data set .webdataset.' 'pictures +2$' 'classes +2$'
# .json alone gives no class: the files are named
tar cf json.tar -C a 0.png 0.json 1.png 1.json
ends 1 "$FD" inspect json.tar
says 'left out .2 JSON.: "0.json", "1.json"'
