# SPDX-License-Identifier: Apache-2.0
# What a killed job left beside a sheet or a file of latents goes with the next one there.
small_run --data "$IN/data" --steps 2 --out run
mkdir here
: >here/.fdit-99999-0.tmp
: >here/.fdit-mine
holds small_sample --base run/delta.safetensors --grid here/sheet.png
absent here/.fdit-99999-0.tmp
: >here/.fdit-99999-1.tmp
holds small_sample --base run/delta.safetensors --latents here/l.safetensors
absent here/.fdit-99999-1.tmp
holds test -e here/.fdit-mine
