# SPDX-License-Identifier: Apache-2.0
# Read by other scripts. demo_data: makes the folder data with all that `demo` wants (FINEDIFFUSION_DATA), so small that it
# takes half a second: four classes, a model and a judge of one block. Needs $program and $source.
demo_data() {
    mkdir -p letters data/letters all && tar -xzf "$source/data/letters-test.tar.gz" -C all || return 1
    for demo_class in 'A/sans light' 'A/serif' 'R/sans light' 'R/serif'; do
        mkdir -p "letters/${demo_class%/*}" && cp -r "all/$demo_class" "letters/${demo_class%/*}" || return 1
    done
    {
        printf 'class\tletter\tstyle\n'
        (cd letters && printf '%s\n' */*) | sed 's,\(.*\)/\(.*\),&\t\1\t\2,'
    } >data/letters/taxonomy.tsv
    (cd letters && tar -czf ../data/letters-test.tar.gz -- *) && cp data/letters-test.tar.gz data/letters-train.tar.gz ||
        return 1
    demo_train made --ranks letter && cp made/delta.safetensors data/base.safetensors &&
        demo_train judge --classifier && cp judge/delta.safetensors data/judge.safetensors
}
demo_train() { # RUN OPTION...
    "$program" train --from-scratch --model 32,1,2,4 --size 24 --channels 1 --tune full --flip none --batch 4 --steps 1 \
        --data data/letters-test.tar.gz --taxonomy data/letters/taxonomy.tsv --device cpu --quiet --out "$@"
}
