# SPDX-License-Identifier: Apache-2.0
# The tables of report.sh in Markdown, from results.tsv: means over the seeds, and for guides the best w by its FD.
# -v rank=NAME: the superclass's rank.

function mean(key, column) { return count[key] ? sum[key, column] / count[key] : 0 }

# The least and largest of the seeds, where there are several.
function spread(key, column) {
    return count[key] > 1 ? sprintf(" (%.3g..%.3g)", low[key, column], high[key, column]) : ""
}

function percent(x) { return sprintf("%.1f", 100 * x) }

function costs(m, key) {
    return sprintf("%s | %.3g | %.1f | %.3g | %.0f | %.2f", m, mean(key, TRAINED), mean(key, DELTA) / 1024,
        mean(key, STEP_SECONDS), mean(key, MEMORY) / 1048576,
        mean("full" SUBSEP "superclass" SUBSEP "steps" SUBSEP "none" SUBSEP 1, STEP_SECONDS) / mean(key, STEP_SECONDS))
}

function quality(key) {
    return sprintf("%.3g%s | %.3g | %.2f | %.2f | %s / %s | %s / %s | %s / %s / %s", mean(key, FD), spread(key, FD),
        mean(key, KID), mean(key, PRECISION), mean(key, RECALL), percent(mean(key, CLASS_1)), percent(mean(key, CLASS_5)),
        percent(mean(key, GROUP_1)), percent(mean(key, GROUP_5)), percent(mean(key, HEAD)), percent(mean(key, MIDDLE)),
        percent(mean(key, TAIL)))
}

# The scale of the lowest mean FD of a guide; 0 if there is none.
function best(m, drop, guide,    i, key, found) {
    found = 0
    for (i = 1; i <= n_scales; i++) {
        key = m SUBSEP drop SUBSEP "steps" SUBSEP guide SUBSEP scales[i]
        if (count[key] && (!found || mean(key, FD) < mean(m SUBSEP drop SUBSEP "steps" SUBSEP guide SUBSEP found, FD)))
            found = scales[i]
    }
    return found
}

# The rows of all guides that are groups, the superclass first.
function by_groups(m,    g) {
    guided(m, "superclass", rank, "SCG " rank)
    for (g = 1; g <= n_guides; g++)
        if (guides[g] != rank)
            guided(m, "superclass", guides[g], "SCG " guides[g])
}

function guided(m, drop, guide, title,    w, key) {
    w = guide == "none" ? 1 : best(m, drop, guide)
    key = m SUBSEP drop SUBSEP "steps" SUBSEP guide SUBSEP w
    if (w && count[key])
        printf "| %s | %s%s | %s |\n", m, title, guide == "none" ? "" : ", w = " w, quality(key)
}

BEGIN {
    FS = "\t"
    QUALITY = "FD | KID | precision | recall | class, top-1 / top-5 | " rank " | head / middle / tail"
    RULE = "---|---|---|---|---|---|---|"
}

NR == 1 {
    for (i = 1; i <= NF; i++)
        column[$i] = i
    FD = column["fd"]; KID = column["kid"]; PRECISION = column["precision"]; RECALL = column["recall"]
    CLASS_1 = column["class_1"]; CLASS_5 = column["class_5"]; GROUP_1 = column["group_1"]
    GROUP_5 = column["group_5"]; HEAD = column["head"]; MIDDLE = column["middle"]; TAIL = column["tail"]
    TRAINED = column["trained"]; DELTA = column["bytes_of_delta"]; STEP_SECONDS = column["seconds_a_step"]
    MEMORY = column["bytes_of_memory"]
    next
}

{
    key = $1 SUBSEP $3 SUBSEP $4 SUBSEP $5 SUBSEP $6
    count[key]++
    for (i = 7; i <= NF; i++) {
        sum[key, i] += $i
        if (count[key] == 1 || $i < low[key, i])
            low[key, i] = $i
        if (count[key] == 1 || $i > high[key, i])
            high[key, i] = $i
    }
    if (!($1 in seen))
        methods[++n_methods] = $1
    seen[$1] = 1
    if (!($6 in seen_scale) && $5 != "none")
        scales[++n_scales] = $6
    seen_scale[$6] = $5 != "none" || seen_scale[$6]
    if ($5 != "none" && $5 != "cfg" && !($5 in seen_guide))
        guides[++n_guides] = $5
    seen_guide[$5] = 1
    if (!($2 in seen_seed))
        n_seeds++
    seen_seed[$2] = 1
    pictures = $7
    if ($4 == "steps")
        steps = $21
}

END {
    printf "What each way costs (%d steps; numbers trained, delta in KiB, seconds a step, most memory in MiB, times as fast as full):\n\n", steps
    print "| way | trained | delta | s a step | memory | speed-up |\n|---|---|---|---|---|---|"
    for (m = 1; m <= n_methods; m++) {
        key = methods[m] SUBSEP "superclass" SUBSEP "steps" SUBSEP "none" SUBSEP 1
        if (count[key])
            print "| " costs(methods[m], key) " |"
    }
    printf "\nWhat it draws at equal steps (%d pictures a row, %d seed%s; the w of a guide is that of its lowest FD; percent):\n\n", pictures, n_seeds, (n_seeds > 1 ? "s" : "")
    print "| way | guide | " QUALITY " |\n|---|---|" RULE
    for (m = 1; m <= n_methods; m++) {
        guided(methods[m], "superclass", "none", methods[m] == "guidance" ? "learnt, one pass" : "none")
        by_groups(methods[m])
        guided(methods[m], "empty", "none", "none, trained with the empty row")
        guided(methods[m], "empty", "cfg", "CFG")
    }
    printf "\nAt equal time, that of FineDiffusion's steps:\n\n"
    print "| way | steps | guide | " QUALITY " |\n|---|---|---|" RULE
    for (m = 1; m <= n_methods; m++)
        for (g = 1; g <= 2; g++)
            for (i = 0; i <= n_scales; i++) {
                w = i ? scales[i] : 1
                guide = g == 1 ? "none" : rank
                key = methods[m] SUBSEP "superclass" SUBSEP (methods[m] == "finediffusion" ? "steps" : "time") SUBSEP guide SUBSEP w
                if (!count[key] || (g == 1) != (i == 0) || (g == 2 && shown[methods[m]]++))
                    continue
                printf "| %s | %d | %s | %s |\n", methods[m], mean(key, column["steps"]), g == 1 ? "none" : "SCG " rank ", w = " w, quality(key)
            }
}
