#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Where training on several processes stops scaling: a step of `train` for 1 to 1,024 processes on paper, from the
# measured time of a micro-batch on one of them and a model of the network. It prints seconds and parts of a step.
#
#     bench/scaling.sh [NAME=VALUE]...
#
# compute=0.5   seconds of a micro-batch (forward and backward), as measured: bench 'train DiT-XL/2 b4'
# jitter=0.02   standard deviation of that, as a share of it: the slowest of all processes is waited for
# update=0.02   seconds of the optimiser's step with EMA on rank 0
# dense=620000  trained numbers that are not class rows       width=1152  numbers of a row
# batch=4       pictures of a micro-batch                      micros=1    micro-batches a step (--accumulate)
# pictures=0    a step's pictures in all, split over the processes (strong scaling: micros = pictures / batch /
#               processes); 0: each process has `micros` (weak scaling)
# rows=10011    rows of the class table
# pieces=9      of a gradient (64 Ki numbers or a block), exchanged one
#               after another while the backward pass, two thirds of `compute`, goes on; 1: after it
# latency=20e-6 seconds of a message                           bandwidth=1.25e9  bytes a second of a link, both ways at once
# draws=200     steps that are simulated for each number       seed=1
#
# The network: every process has one link, which carries `bandwidth` bytes a second each way, and a switch that is never
# the bottleneck. Collectives as both MPI libraries make them: broadcast of m bytes the cheaper of a binomial tree,
# log2(R) (L + m/W), and scatter with allgather, (log2(R) + R - 1) L + 2 m/W; gather to rank 0 of m bytes in all
# log2(R) L + m/W; gather to all of m bytes a process log2(R) L + (R - 1) m/W; all to all of m bytes a process the cheaper of pairs, (R - 1) L + m/W, and Bruck, log2(R) (L + m/2/W).
# Rank 0 adds up rows at 2e9 numbers a second; so does each process its part of the dense gradient.
compute=0.5 jitter=0.02 update=0.02 dense=620000 width=1152 batch=4 micros=1 pictures=0 rows=10011 pieces=9 latency=20e-6
bandwidth=1.25e9 draws=200 seed=1
for setting; do
    case $setting in
    compute=* | jitter=* | update=* | dense=* | width=* | batch=* | micros=* | pictures=* | rows=* | pieces=* | latency=* | bandwidth=* | draws=* | seed=*) ;;
    *) echo "scaling.sh: '$setting' is not known; see the head of $0" >&2 && exit 2 ;;
    esac
    case ${setting#*=} in *[!0-9.e+-]* | '') echo "scaling.sh: $setting: not a number" >&2 && exit 2 ;; esac
    eval "$setting"
done
awk -v compute=$compute -v jitter=$jitter -v update=$update -v n=$dense -v d=$width -v b=$batch -v micros=$micros \
    -v pictures=$pictures -v rows=$rows -v pieces=$pieces -v lat=$latency -v bw=$bandwidth -v draws=$draws -v seed=$seed '
function greatest(x, y) { return x > y ? x : y }
function least(x, y) { return x < y ? x : y }
function log2(x, k) { for (k = 0; 2 ^ k < x; k++); return k }
function broadcast(r, m) { return r < 2 ? 0 : least(log2(r) * (lat + m / bw), (log2(r) + r - 1) * lat + 2 * m / bw) }
function gather(r, m) { return r < 2 ? 0 : log2(r) * lat + m * (r - 1) / r / bw }
function exchange(r, m) { return r < 2 ? 0 : least((r - 1) * lat + m * (r - 1) / r / bw, log2(r) * (lat + m / 2 / bw)) }
function allgather(r, m) { return r < 2 ? 0 : log2(r) * lat + (r - 1) * m / bw }
function normal() { return sqrt(-2 * log(1 - rand())) * cos(6.283185307179586 * rand()) }
# seconds that a gradient takes longer than the pass that makes it: the last piece, or the line is too slow for all; of
# the last micro-batch the pieces go to rank 0, too
function longer(r, more, one) {
    one = exchange(r, 4 * n / pieces) + more * gather(r, 4 * n / pieces)
    return one + (pieces > 1 ? greatest(0, (pieces - 1) * (one - compute * 2 / 3 / pieces)) : 0)
}
# seconds of the slowest of r micro-batches
function slowest(r, most, k, x) {
    most = 0
    for (k = 0; k < r; k++) { x = compute * (1 + jitter * normal()); if (x > most) most = x }
    return most
}
function step(r, a, k, u, sums, t) {
    u = rows * (1 - (1 - 1 / rows) ^ (r * b)) # rows that are different among r b pictures
    part["meet"] = a * allgather(r, 4 * b)
    part["rows"] = a * (allgather(r, 4 * u * d / r) + gather(r, 4 * r * b * d))
    part["sums"] = broadcast(r, 4 * d * rows * (1 - (1 - 1 / rows) ^ (a * r * b)))
    part["dense"] = (a - 1) * longer(r, 0) + longer(r, 1)
    part["values"] = broadcast(r, 4 * n)
    part["rank0"] = update + a * r * b * d / 2e9 + a * n / 2e9
    part["losses"] = gather(r, 32 * r) + broadcast(r, 32) + gather(r, r) + broadcast(r, 2)
    part["waiting"] = 0
    for (k = 0; k < draws; k++) part["waiting"] += slowest(r) / draws
    part["waiting"] = a * (part["waiting"] - compute)
    t = a * compute
    for (k in part) t += part[k]
    return t
}
BEGIN {
    srand(seed)
    printf "%6s %9s %9s %8s  %s\n", "ranks", "s/step", "pictures/s", "of ideal", "the largest parts beside computing"
    for (r = 1; r <= 1024; r *= 2) {
        a = pictures ? pictures / b / r : micros
        if (a < 1 || a != int(a)) break
        t = step(r, a)
        speed = r * a * b / t
        if (r == 1) one = speed
        share = speed / one / r
        text = ""
        for (i = 0; i < 3; i++) {
            most = ""
            for (k in part) if (!(k in told) && (most == "" || part[k] > part[most])) most = k
            told[most] = 1
            text = text sprintf("%s%s %.1f %%", i ? ", " : "", most, 100 * part[most] / t)
        }
        split("", told)
        printf "%6d %9.4g %9.4g %7.1f %%  %s\n", r, t, speed, 100 * share, text
        if (share < 0.8 && !ends) ends = r
    }
    print ends ? "below 80 % of the ideal from " ends " processes on" : "at least 80 % of the ideal all the way"
}'
