# SPDX-License-Identifier: Apache-2.0
# What a run leaves that was killed before anything was done: it can be started again, or resumed.
cp -R "$IN/data" d
for left in empty temporary folders temporaries config; do
    for how in '' --resume; do
        rm -rf run whole
        mkdir run
        case $left in
        temporary) echo half >run/.fdit-99999-0.tmp ;;
        folders) mkdir run/checkpoints run/previews ;;
        temporaries)
            mkdir run/checkpoints run/previews
            echo half >run/checkpoints/.fdit-99999-0.tmp
            ;;
        config) # killed between config.json and its folders: only --resume, it may be a run that counts
            [ -n "$how" ] || continue
            ends 0 small_run --data d --steps 2 --out whole
            sed "s/\"checkpoints\":true/\"checkpoints\":false/" whole/config.json >run/config.json
            ;;
        esac
        ends 0 small_run --data d --steps 2 --out run $how
        holds test -s run/delta.safetensors
        absent run/.fdit-99999-0.tmp run/checkpoints/.fdit-99999-0.tmp
    done
done
# what is not of a run keeps the folder, and stays
mkdir other
echo mine >other/notes
ends 2 small_run --data d --steps 2 --out other
holds grep -q mine other/notes
ends 2 small_run --data d --steps 2 --out other --resume
says 'holds no run'
# a start that is refused leaves no folder, and one that was there as it was
ends 1 small_run --data nothing --steps 2 --out a/b
absent a
mkdir empty
ends 1 small_run --data nothing --steps 2 --out empty
holds test -d empty
