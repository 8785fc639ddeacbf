# SPDX-License-Identifier: Apache-2.0
# Options that would do nothing, numbers at the edge of their type, and a config.json that was edited: refused by
# name before any work.
cp -R "$IN/data" d
ends 0 small_run --data d --steps 3 --out base
tune="$FD train --base base/delta.safetensors --data d --batch 4 --threads 1 --device cpu --quiet --steps 2 --out no"
for option in '--channels 1:--channels 1: base/delta.safetensors is made for 3' '--size 32:--size 32: .* is made for 16' \
    '--shift 2:--shift is of a classifier' '--old-classes keep:--old-classes are those of a delta' \
    '--val-pictures -1:--val-pictures -1: give a number of at least 0' '--keep -1:--keep -1: give a number of at least 0'; do
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
says 'cut/config.json: is empty; the config.json of a run is needed' && one_line
# what decides the result was edited in config.json: the checkpoint knows how it was made
stale() { # stale SED-EXPRESSION OPTION WAS IS
    rm -rf run
    cp -R base run
    sed "$1" base/config.json >run/config.json
    cp -R run before
    ends 2 "$FD" train --resume run --steps 5
    says "train: --resume: run/checkpoints/step-3.safetensors: was written with --$2 $3, and run/config.json says $4 now; put"
    one_line
    holds diff -r before run
    rm -rf before
}
stale 's/"lr":[0-9.e-]*/"lr":0.5/' lr 0.0001 0.5
stale 's/"seed":0/"seed":7/' seed 0 7
stale 's/"batch":4/"batch":2/' batch 4 2
stale 's/"accumulate":1/"accumulate":4/' accumulate 1 4
stale 's/"flip":"horizontal"/"flip":"none"/' flip '"horizontal"' '"none"'
stale 's/"matte":"white"/"matte":"black"/' matte '"white"' '"black"'
stale 's/"optimiser":"adamw"/"optimiser":"lion"/' optimiser '"adamw"' '"lion"'
stale 's/"betas":\[[0-9.,]*\]/"betas":[0.5,0.5]/' betas '\[0.9[0-9]*, ?0.999[0-9]*\]' '\[0.5, ?0.5\]'
stale 's/"lr":[0-9.e-]*,//; s/"warmup":0/"warmup":2/' warmup 0 2
# a checkpoint of a version that did not write the options, and what may change
for change in 's/"workers":2/"workers":0/' 's/"keep":3/"keep":1/' 's/"skip-bad":false/"skip-bad":true/'; do
    rm -rf run
    cp -R base run
    sed "$change" base/config.json >run/config.json
    holds sh -c '! cmp -s base/config.json run/config.json'
    ends 0 "$FD" train --resume run --steps 4
done
# no moments at all is a choice, too
ends 0 small_run --data d --steps 4 --betas 0,0 --out none
holds grep -Eq '"betas":\[0(\.0)?, ?0(\.0)?\]' none/config.json
ends 0 small_run --data d --steps 2 --betas 0,0 --out half
ends 0 "$FD" train --resume half --steps 4
holds cmp none/delta.safetensors half/delta.safetensors
ends 2 "$FD" train --resume half --steps 6 --betas 0.9,0.999
says '--betas was \[0(\.0)?, ?0(\.0)?\] when the run began'
# a config.json that is not one: it is that which lacks something, not the command
lacks() { # TEXT OF config.json, WHAT
    printf '%s\n' "$1" >run/config.json
    for command in "train --resume run --steps 5" "inspect run"; do
        case $command$1 in inspect*\"options\"*) ;; inspect*) continue ;; esac
        ends 1 "$FD" $command
        says ": run/config.json: lacks $2, which a run writes" && one_line
        silent '--data is missing'
    done
}
lacks '{}' '"options"'
lacks '{"steps":3}' '"options"' 2>/dev/null
lacks '{"format":"finediffusion-run","options":{},"steps":3}' '"data"'
lacks '{"format":"finediffusion-run","options":{"data":"d"},"steps":3}' '"base" \(or "from-scratch"\)'
printf '{}\n' >options.json
ends 2 "$FD" train --config options.json --from-scratch --model 32,1,2,4 --tune full --steps 3 --out no
says '--data is missing, and options.json has none' && one_line
# inspect reads the numbers of a run with the same eyes
for steps in -4 0 2.5 '"3"' 99999999999999999999; do
    sed "s/\"steps\":3,\"checkpoints\"/\"steps\":$steps,\"checkpoints\"/" base/config.json >run/config.json
    ends 1 "$FD" inspect run
    says 'run/config.json' && one_line
    silent 'of steps'
done
