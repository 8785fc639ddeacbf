# SPDX-License-Identifier: Apache-2.0
# Options that would do nothing, numbers at the edge of their type, and a config.json that was edited: refused by
# name before any work.
cp -R "$IN/data" d
ends 0 small_run --data d --steps 3 --out base
tune="$FD train --base base/delta.safetensors --data d --batch 4 --threads 1 --device cpu --quiet --steps 2 --out no"
for option in '--channels 1:--channels 1: base/delta.safetensors is made for 3' '--size 32:--size 32: .* is made for 16' \
    '--shift 2:--shift is of a classifier' '--old-classes keep:--old-classes are those of a delta' \
    '--val-pictures -1:--val-pictures -1: give a number from' '--keep -1:--keep -1: give a number from'; do
    ends 2 $tune ${option%%:*}
    says "train: ${option#*:}" && one_line
done
ends 0 "$FD" train --base base/delta.safetensors --data d --batch 4 --threads 1 --device cpu --quiet --steps 2 --out same \
    --channels 3 --size 16
for number in '--epochs 1e16' '--epochs 1e300' '--steps 9223372036854775807' '--steps 10000000000000000' '--warmup 9e18' \
    '--steps 99999999999999999999' '--steps -4' '--epochs -1' '--seed -1' '--checkpoint-every -1' '--preview-every 2e15' \
    '--batch 99999999999' '--accumulate 0'; do
    case $number in
    --steps* | --epochs*) ends 2 small_run --data d --out no $number ;;
    *) ends 2 small_run --data d --out no --steps 2 $number ;;
    esac
    says "train: ${number%% *}" && one_line
done
# a rate that is far too high: something is named
ends 1 small_run --data d --lr 10 --steps 3000 --out high
says 'train: step [0-9]*: .* is not finite .*; use a lower --lr or --clip 1' && one_line
silent 'no parameter shows it' '\(none\)'
absent no
# an edited config.json
edited() { # edited SED-EXPRESSION PATTERN
    rm -rf run
    cp -R base run
    sed "$1" base/config.json >run/config.json
    holds sh -c '! cmp -s base/config.json run/config.json'
    code=1
    "$FD" train --resume run ${3---steps 5} >out 2>err
    got=$?
    holds test $got -eq 1 -o $got -eq 2
    last="train --resume with $1"
    says "$2" && one_line
}
edited 's/"steps":3,"checkpoints"/"steps":-4,"checkpoints"/' '"steps" must be a whole number above 0'
edited 's/"steps":3,"checkpoint-every"/"steps":-4,"checkpoint-every"/' 'train: --steps -4' ' '
edited 's/"batch":4/"batch":10000000000000000/' '"batch" cannot be 10000000000000000'
edited 's/"batch":4/"batch":99999999999999999999/' 'config.json'
edited 's/"batch":4/"batch":-4/' '--batch'
edited 's/"batch":4/"batch":"4"/' '"batch" cannot be "4"'
edited 's/"lr":[0-9.e-]*/"lr":1e16/' '--lr'
edited 's/"seed":0/"seed":-1/' '"seed" cannot be -1'
edited 's/"flip":"horizontal"/"flip":"yes"/' '"flip" cannot be "yes"'
edited 's/"tune":"full"/"tune":7/' '"tune" cannot be 7'
edited 's/"keep":3/"keep":-3/' '--keep'
edited 's/"workers":2/"workers":1e3/' '"workers" cannot be'
edited 's/"lr":/"rate":/' '"rate" is not an option of train'
edited 's/"pictures":16/"pictures":17/; s/"classes":"0/"classes":"1/' '--resume: .* has other pictures'
edited 's/"options":/"choices":/' 'no "options"'
edited 's/.*//' 'config.json'
: >empty
rm -rf run && cp -R base run && cp empty run/config.json
ends 1 "$FD" train --resume run --steps 5
says 'run/config.json'
# a schedule over another number of steps
ends 0 small_run --data d --steps 6 --lr-schedule cosine --out cosine
ends 0 small_run --data d --steps 12 --lr-schedule cosine --out cosine --resume
says 'warning: --lr-schedule cosine: the run has 12 steps instead of 6, so the rate goes from .* \(step 6\) to'
ends 2 small_run --data d --out no --steps 2 --ema 1.0000000001
says '--ema 1.0000000001 is out of range' && one_line
ends 2 small_run --data d --out no --steps 2 --ema 1
says 'average would never move' && one_line
cp -R base cut
: >cut/config.json
ends 1 "$FD" train --resume cut
says 'cut/config.json: .*; correct it' && one_line
