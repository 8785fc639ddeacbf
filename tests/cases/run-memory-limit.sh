# SPDX-License-Identifier: Apache-2.0
# Memory that ulimit refuses: the message names the limit, and not the machine's memory.
for kind in v d; do
    ends 1 sh -c 'ulimit -'$kind' 300000 && exec "$@"' sh "$FD" train --from-scratch --tune full --model 1024,12,8,8 \
        --size 64 --channels 3 --batch 8 --data "$IN/data/owls" --label-drop empty --steps 1 --device cpu --threads 1 --quiet --out run
    says 'RLIMIT_.*ulimit -'$kind
done
