# SPDX-License-Identifier: Apache-2.0
# Statistics that no pictures can have: a variance below zero is refused by name, and gives no distance.
cp -R "$IN/data" d
ends 0 small_run --classifier --data d --steps 2 --out judge
ends 1 "$FD" eval d --features judge:judge/delta.safetensors --device cpu --threads 1 --quiet --metrics fd \
    --stats "$IN/other-files/variance.npz"
says 'variance.npz: sigma is not a covariance: the variance of feature 1 is -1, below 0; make it again' && one_line
