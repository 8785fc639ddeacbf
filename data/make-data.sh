#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes the files of this folder again: data/make-data.sh [STEP]...   (default: all steps)
#
#     letters   letters-train.tar.gz, letters-test.tar.gz, letters/taxonomy.tsv; and in $WORK the
#               sets that the later steps learn from
#     base      base.safetensors: the 52 letters without style, trained from scratch
#     judge     judge.safetensors: a classifier of the 110 classes
#     colour    colour.safetensors: clip art in colour (needs Debian's package openclipart-png); not among "all"
#
# All trainings can be stopped and started again. FINEDIFFUSION (default finediffusion) is the program.
# WORK (default ./data-work) keeps intermediate files. data/README.md says what is what.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=${WORK-data-work}
fd=${FINEDIFFUSION-finediffusion}
styles='sans light,sans regular,sans bold,sans italic,sans condensed,serif,serif bold,serif italic,mono,hand'

step_letters() {
    "$here/../tools/letters/make.sh" "$work/letters"
    gzip -n9 -c "$work/letters/fine-train.tar" > "$here/letters-train.tar.gz"
    gzip -n9 -c "$work/letters/fine-test.tar" > "$here/letters-test.tar.gz"
    {
        printf 'class\tletter\tstyle\n#order style=%s\n' "$styles"
        awk -F'\t' '$1 == "fine-train.tar" { split($2, a, "/"); print $2 "\t" a[1] "\t" a[2] }' \
            "$work/letters/counts.tsv"
    } > "$here/letters/taxonomy.tsv"
}

# In three runs: the rate falls to 0, then rises again. Each can be stopped and goes on.
step_base() {
    "$fd" train --from-scratch --model 128,5,4,3 --size 24 --channels 1 --tune full \
        --data "$work/letters/base.tar" --val "$work/letters/base-val.tar" --flip none \
        --label-drop empty --batch 64 --steps "${BASE_STEPS-8800}" --lr 1e-3 --lr-schedule linear \
        --warmup 100 --betas 0.9,0.99 --clip 1 --ema 0.999 --seed 1 --workers 1 \
        --checkpoint-every 500 --preview-guidance 2 --out "$work/base" --resume
    "$fd" convert "$work/base/delta.safetensors" "$work/base1.safetensors" --type f16
    "$fd" train --base "$work/base1.safetensors" --tune full --table-init names \
        --data "$work/letters/base.tar" --val "$work/letters/base-val.tar" --flip none \
        --label-drop empty --batch 64 --steps "${BASE_MORE_STEPS-8500}" --lr 1e-3 --lr-schedule linear \
        --warmup 200 --betas 0.9,0.99 --clip 1 --ema 0.999 --seed 2 --workers 1 \
        --checkpoint-every 1000 --preview-guidance 2 --out "$work/base2" --resume
    "$fd" convert "$work/base2/delta.safetensors" "$work/base2.safetensors" --type f16
    "$fd" train --base "$work/base2.safetensors" --tune full --table-init names \
        --data "$work/letters/base.tar" --val "$work/letters/base-val.tar" --flip none \
        --label-drop empty --batch 64 --steps "${BASE_LAST_STEPS-34000}" --lr 1e-3 --lr-schedule linear \
        --warmup 200 --betas 0.9,0.99 --clip 1 --ema 0.999 --seed 3 --workers 1 --precision auto \
        --checkpoint-every 2000 --preview-guidance 2 --out "$work/base3" --resume
    "$fd" convert "$work/base3/delta.safetensors" "$here/base.safetensors" --type f16
}

step_judge() {
    "$fd" train --from-scratch --classifier --model 72,5,3,3 --size 24 --channels 1 --tune full \
        --data "$work/letters/fine-all.tar" --val "$work/letters/fine-test.tar" --flip none \
        --taxonomy "$here/letters/taxonomy.tsv" --shift 2 --batch 64 --steps "${JUDGE_STEPS-3800}" \
        --lr 1.5e-3 --lr-schedule cosine --warmup 200 --betas 0.9,0.99 --clip 1 --weight-decay 0.1 \
        --ema 0.999 --seed 1 --workers 1 --checkpoint-every 500 --out "$work/judge" --resume
    "$fd" convert "$work/judge/delta.safetensors" "$here/judge.safetensors" --type f16
}

step_colour() {
    [ -d "$work/clipart" ] || "$here/../tools/clipart/make.sh" "$work/clipart"
    "$fd" encode "$work/clipart/base" "$work/clipart-base" --size 32 --fit pad --skip-bad
    "$fd" train --from-scratch --model 128,6,4,4 --size 32 --channels 3 --tune full --data "$work/clipart-base" --val 0.03 \
        --label-drop empty --batch 64 --steps "${COLOUR_STEPS-3800}" --lr 1e-3 --lr-schedule linear --warmup 100 \
        --betas 0.9,0.99 --clip 1 --ema 0.999 --seed 1 --workers 1 --checkpoint-every 250 --preview-guidance 2 \
        --out "$work/colour" --resume
    "$fd" convert "$work/colour/delta.safetensors" "$work/colour1.safetensors" --type f16
    "$fd" train --base "$work/colour1.safetensors" --tune full --table-init names --data "$work/clipart-base" --val 0.03 \
        --label-drop empty --batch 64 --steps "${COLOUR_MORE_STEPS-6500}" --lr 1e-3 --lr-schedule linear --warmup 200 \
        --betas 0.9,0.99 --clip 1 --ema 0.999 --seed 2 --workers 1 --checkpoint-every 1000 --preview-guidance 2 \
        --out "$work/colour2" --resume
    "$fd" convert "$work/colour2/delta.safetensors" "$here/colour.safetensors" --type f16
}

[ $# -gt 0 ] || set -- letters base judge
for step; do
    case $step in
    letters) step_letters ;;
    base) step_base ;;
    judge) step_judge ;;
    colour) step_colour ;;
    *) echo "make-data.sh: $step: unknown step" >&2; exit 2 ;;
    esac
done
