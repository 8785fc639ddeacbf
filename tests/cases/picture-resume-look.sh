# SPDX-License-Identifier: Apache-2.0
# A run says how it takes pictures, and a run or delta of a time before there was a choice goes on as it was.
D=$IN/pictures/clear
ends 0 small_run --data "$D" --label-drop empty --steps 2 --out run
holds grep -q '"orient":"exif","matte":"white"' run/config.json
ends 0 "$FD" inspect --json run/delta.safetensors
prints '"matte": *"white"'
sed -i 's/"orient":"exif","matte":"white",//' run/config.json
# as long as before: only the text within the file's header changes
blanks=$(printf '%40s' '')
LC_ALL=C sed -i 's/\\"orient\\":\\"exif\\",\\"matte\\":\\"white\\",/'"$blanks/" run/checkpoints/*.safetensors
ends 2 small_run --data "$D" --label-drop empty --steps 3 --matte white --out run --resume
says '--matte was "none"'
ends 0 small_run --data "$D" --label-drop empty --steps 3 --out run --resume
holds grep -q '"orient":"none","matte":"none"' run/config.json
ends 0 small_run --data "$D" --label-drop empty --steps 2 --matte '#102030' --orient none --out other
ends 0 "$FD" train --base other/delta.safetensors --delta other/delta.safetensors --tune full --data "$D" \
    --label-drop empty --steps 1 --batch 4 --device cpu --threads 1 --quiet --out grown
holds grep -q '"orient":"none","matte":"#102030"' grown/config.json
