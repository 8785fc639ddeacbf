#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tools/han10k: what report.sh makes of results whose means are known, what table.sh finds to do; tools/chart.awk.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
tools=$source/tools

# run METHOD SEED DROP BUDGET STEPS TRAINED SECONDS PEAK DELTA_BYTES
run() {
    mkdir -p "out/runs/$1-$2-$3-$4"
    printf '{"done":true,"step":%s,"steps":%s,"trained":%s,"stall_seconds":9,"seconds":%s,"all_seconds":99,"peak_bytes":%s}\n' \
        "$5" "$5" "$6" "$7" "$8" >"out/runs/$1-$2-$3-$4/summary.json"
    head -c "$9" /dev/zero >"out/runs/$1-$2-$3-$4/delta.safetensors"
    printf '%s\n' '{"step":0,"eval":{"fd:judge:j/d.safetensors":40,"accuracy top-1 class":0.1,"accuracy top-1 radical":0.2}}' \
        '{"step":5,"loss":1,"seconds":60.0}' \
        '{"step":5,"eval":{"fd:judge:j/d.safetensors":30,"accuracy top-1 class":0.3,"accuracy top-1 radical":0.4}}' \
        >"out/runs/$1-$2-$3-$4/log.jsonl"
}
# row METHOD SEED DROP BUDGET GUIDE W FD TOP1 TAIL
row() {
    mkdir -p out/rows
    {
        printf '{"memory":{"peak_bytes":7},"metrics":{'
        printf '"fd:judge:j/d.safetensors":{"name":"fd:judge:j/d.safetensors","metric":"fd","value":%s,"error":0.5,"low":null,"n":600},' "$7"
        printf '"kid:judge":{"name":"kid:judge","metric":"kid","value":-2.5e-1,"error":0.125,"n":600},'
        printf '"precision:judge":{"name":"precision:judge","metric":"precision","value":0.75,"error":0.1,"n":600},'
        printf '"recall:judge":{"name":"recall:judge","metric":"recall","value":0.5,"error":0.1,"n":600},'
        printf '"accuracy top-1 class":{"name":"accuracy top-1 class","metric":"accuracy","value":%s,"error":0.1},' "$8"
        printf '"accuracy top-5 class":{"name":"accuracy top-5 class","metric":"accuracy","value":0.8,"error":0.1},'
        printf '"accuracy top-1 radical":{"name":"accuracy top-1 radical","metric":"accuracy","value":0.9,"error":0.1}},'
        printf '"by":[{"rank":"tail","group":"head","metrics":{"kid":null,"top-1":0.6,"top-5":0.7}},'
        printf '{"rank":"tail","group":"middle","metrics":{"kid":null,"top-1":0.4,"top-5":0.7}},'
        printf '{"rank":"tail","group":"tail","metrics":{"kid":null,"top-1":%s,"top-5":0.7}}]}\n' "$9"
    } >"out/rows/$1-$2-$3-$4-$5-$6.json"
}
mkdir out
echo radical >out/superclass
checks=$((checks + 1))
"$tools/han10k/report.sh" out >stdout 2>stderr && fail 'a table without rows is made'
says stderr 'no rows yet'
for seed in 0 1; do
    run full $seed superclass steps 10 59648 40 52428800 2048
    run finediffusion $seed superclass steps 10 5344 20 26214400 1024
    run lora-8 $seed superclass time 12 5344 20 26214400 1024
    row full $seed superclass steps none 1 20 0.25 0.1
    row finediffusion $seed superclass steps none 1 1$seed 0.5 0.2
    row finediffusion $seed superclass steps radical 2 8 0.5 0.2
    row finediffusion $seed superclass steps radical 3.5 6 0.5 0.2
    row lora-8 $seed superclass time none 1 9 0.5 0.2
done
checks=$((checks + 1))
"$tools/han10k/report.sh" out >stdout 2>stderr || fail 'report.sh ends badly' "$(cat stderr)"
equal 'nothing is said' "$(cat stderr)" ''
equal 'lines of results.tsv' "$(wc -l <out/results.tsv | tr -d ' ')" 11
says stdout '^| full | 5.96e+04 | 2.0 | 4 | 50 | 1.00 |$'
says stdout '^| finediffusion | 5.34e+03 | 1.0 | 2 | 25 | 2.00 |$'
says stdout '600 pictures a row, 2 seeds'
says stdout '^| finediffusion | none | 10.5 (10..11) | -0.25 | 0.75 | 0.50 | 50.0 / 80.0 | 90.0 / 0.0 | 60.0 / 40.0 / 20.0 |$'
says stdout '^| finediffusion | SCG radical, w = 3.5 | 6 (6..6) |'
says stdout '^| lora-8 | 12 | none | 9 (9..9) |'
printf 'finediffusion\t0.5\nfull\t4\nlora:8\t1\n' >out/times.tsv
"$tools/han10k/report.sh" out >timed 2>stderr
says timed '^| finediffusion | 5.34e+03 | 1.0 | 0.5 | 25 | 8.00 |$'
rm out/times.tsv
"$tools/han10k/report.sh" out >stdout 2>stderr
checks=$((checks + 1))
cmp -s stdout out/table.md || fail 'table.md is not what is printed'
equal 'points of the sweep' "$(grep -c '<circle' out/sweep.svg)" 12
equal 'points over time' "$(grep -c '<circle' out/curves.svg)" 12
for chart in sweep curves; do
    checks=$((checks + 1))
    tail -n 1 out/$chart.svg | grep -qx '</svg>' || fail "$chart.svg has no end"
done

# Where a point stands: the axis of y goes to 8, that of x from 1 to 3.
printf 'a & b\tone\t1\t4\t1\na & b\tone\t3\t7.5\na & b\ttwo\t2\t-\n' >points
awk -v xlabel=w -f "$tools/chart.awk" points >chart.svg
says chart.svg '<circle cx="72.0" cy="120.0"'
says chart.svg '<circle cx="328.0" cy="50.0"'
says chart.svg 'a &amp; b'
equal 'a value that is not a number' "$(grep -c '<circle' chart.svg)" 2
checks=$((checks + 1))
: | awk -f "$tools/chart.awk" >/dev/null 2>stderr && fail 'a chart without points is made'
says stderr 'no points'

# What there is to do, for two ways and one scale: data, base, judge, features; training, plain, two guides, training
# with an empty row, plain, CFG for each; times of steps; full at equal time with two rows; the sheet.
"$tools/han10k/table.sh" new --list --methods 'full finediffusion' --scales 2 --seeds 3 >stdout
equal 'pieces of work' "$(wc -l <stdout | tr -d ' ')" 23
says stdout '^       train full, seed 3, dropped labels become empty, 10000 steps (equal steps)$'
says stdout '^       train full, seed 3, dropped labels become superclass, 10000 steps (equal time)$'
printf 'finediffusion\t0.5\nfull\t2\n' >new/times.tsv
"$tools/han10k/table.sh" new --list --methods 'full finediffusion' --scales 2 --sweep '3 4' --seeds 3 >stdout
equal 'pieces of work with a sweep' "$(wc -l <stdout | tr -d ' ')" 26
says stdout '^there  time the steps of each way, in turn$'
says stdout '^       train full, seed 3, dropped labels become superclass, 2500 steps (equal time)$'
"$tools/han10k/table.sh" new --list --times --methods 'full finediffusion' >stdout
equal 'pieces of work before the times' "$(wc -l <stdout | tr -d ' ')" 5
mkdir -p new/data
echo class >new/data/taxonomy.tsv
"$tools/han10k/table.sh" new --list --methods full --scales 2 >stdout
says stdout '^there  draw the characters$'
for wrong in --stpes '--steps'; do
    checks=$((checks + 1))
    "$tools/han10k/table.sh" new $wrong >stdout 2>stderr && fail "table.sh takes $wrong"
    says stderr "table.sh: $wrong: a value is missing, or the option does not exist"
done
checks=$((checks + 1))
"$tools/han10k/table.sh" >stdout 2>stderr && fail 'table.sh works without a folder'
says stderr 'tools/han10k/table.sh OUT'
finish
