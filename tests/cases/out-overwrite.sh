# SPDX-License-Identifier: Apache-2.0
# --overwrite removes what the former job made and nothing else, never through links.
small_run --data "$IN/data" --steps 2 --out run
S="small_sample --base run/delta.safetensors --out pics"
holds $S --per-class 2
mkdir -p pics/robin other/dove other/gulls%2Fb
for i in 1 2 1007; do cp pics/gulls%2Fa/gulls%2Fa-0.png pics/robin/robin-$i.png; done
cp pics/gulls%2Fa/gulls%2Fa-0.png other/dove/dove-1.png
ln -s ../other/dove pics/dove
cp pics/gulls%2Fa/gulls%2Fa-0.png pics/gulls%2Fa/gulls%2Fa-7.png
echo x >pics/pictures-of-my-holiday.tar
echo x >pics/pictures-00000.tar
echo y >pics/manifest.2024.jsonl
echo '{"index":0,"class":"x","id":0,"seed":0,"file":"../other/dove/dove-1.png"}' >pics/manifest.0-of-9.jsonl
mv pics/gulls%2Fb/* other/gulls%2Fb/
rmdir pics/gulls%2Fb
ln -s ../other/gulls%2Fb pics/gulls%2Fb
ends 1 $S --classes gulls/a --guidance 3
says '--overwrite'
holds $S --classes gulls/a --guidance 3 --overwrite
for file in pics/robin/robin-1.png pics/robin/robin-1007.png other/dove/dove-1.png pics/dove pics/pictures-of-my-holiday.tar \
    pics/pictures-00000.tar pics/manifest.2024.jsonl pics/gulls%2Fa/gulls%2Fa-7.png \
    other/gulls%2Fb/gulls%2Fb-0.png other/gulls%2Fb/gulls%2Fb-1.png pics/gulls%2Fa/gulls%2Fa-0.png; do
    holds test -e $file
done
absent pics/owls%2Fa pics/owls%2Fb pics/gulls%2Fa/gulls%2Fa-1.png
# the former job's picture that stayed is not taken for one of the new job
ends 1 $S --per-class 8 --classes gulls/b --guidance 3 --overwrite
says 'is a link'
holds $S --per-class 8 --classes gulls/a --guidance 3 --json
ends 0 $S --per-class 8 --classes gulls/a --guidance 3 --json
prints '"sampled":0,"kept":8'
# an interrupted job has no manifest: its pictures say themselves whose they are
holds $S --per-class 2 --guidance 2.5 --classes gulls/a,owls/a --overwrite
rm pics/manifest.jsonl
holds $S --classes owls/a --guidance 2 --overwrite
absent pics/gulls%2Fa/gulls%2Fa-0.png pics/owls%2Fa/owls%2Fa-1.png
