# SPDX-License-Identifier: Apache-2.0
# Class names with dots and archives: the key of a WebDataset sample ends at its first dot.
small_run --data "$IN/dotted" --label-drop empty --steps 2 --out run
holds small_sample --base run/delta.safetensors --per-class 3 --tar --out s
holds tar xf s/pictures-00000.tar
ends 0 tar tf s/pictures-00000.tar
prints '^__taxonomy__$' '^001%2EBlack_footed_Albatross/001%2EBlack_footed_Albatross-0\.png$' '^sp%2E nova/'
silent '\..*\..*$'
holds test "$(tar tf s/pictures-00000.tar | sed 's|.*/||; s/\..*//' | sort -u | wc -l)" -eq 10
holds test "$(tar tf s/pictures-00000.tar | wc -l)" -eq 28
holds grep -q '"class": *"sp. nova"' 'sp%2E nova/sp%2E nova-1.json'
holds grep -q '^2$' 'sp%2E nova/sp%2E nova-1.cls' || holds test "$(cat 'sp%2E nova/sp%2E nova-1.cls')" = 2
ends 0 "$FD" inspect s/pictures-00000.tar
prints 'webdataset' 'pictures +9$' 'classes +3$'
ends 0 small_sample --base run/delta.safetensors --per-class 3 --tar --out s --json
prints '"sampled":0,"kept":9'
# folders of pictures keep their dots
holds small_sample --base run/delta.safetensors --out f
holds test -f 'f/sp. nova/sp. nova-0.png'
