# SPDX-License-Identifier: Apache-2.0
# A contact sheet of more than 100 classes has pages; names of any script are not an obstacle.
i=0
while [ $i -lt 101 ]; do
    mkdir -p "d/c$i" && cp "$IN/pictures/upright/a/1.png" "d/c$i/" && i=$((i + 1))
done
mkdir -p 'd/中文' && cp "$IN/pictures/upright/a/1.png" 'd/中文/'
ends 0 small_run --data d --label-drop empty --steps 1 --out run
ends 0 small_sample --base run/delta.safetensors --grid s.png
holds test -s s-1.png -a -s s-2.png
absent s.png s-3.png
ends 0 small_sample --base run/delta.safetensors --classes '中文,c1' --grid t.png
holds test -s t.png
