# SPDX-License-Identifier: Apache-2.0
# isa-loop.awk: the inner loop around the matrix instructions of an assembly listing (clang's for AMD, nvdisasm's,
# IGA's), for isa-check.sh. Prints
#
#     MATRIX ALL READ WRITTEN VECTOR
#
# its matrix instructions, all its instructions, and the bytes of local memory that a lane reads and writes a pass (Intel:
# a hardware thread), and of AMD the other vector instructions. Of all ranges from a label to the last branch back to it the one with most matrix
# instructions, the shortest of those; nothing where there is none.
function number(text, pattern, skip)
{
    return match(text, pattern) ? substr(text, RSTART + skip, RLENGTH - skip) + 0 : 0
}
/^\.?L[A-Za-z0-9_]*:/ {
    name = $1
    sub(/:.*/, "", name)
    at[name] = n
    next
}
# what is not an instruction
/^[ \t]*(;|\.|\/\/|#|$)/ || !/^[ \t(]/ { next }
{
    op = $0
    sub(/^[ \t]*\/\*[0-9a-f]+\*\/[ \t]*/, "", op) # nvdisasm: the address
    if (op !~ /^[ \t]*[@(A-Za-z]/)
        next
    n++
    matrix[n] = op ~ /[HI]MMA|v_wmma|v_mfma|dpas/
    vector[n] = op ~ /^[ \t]*v_/ && !matrix[n]
    # AMD: ds_load_b128, ds_read2_b64, ds_load_2addr_b32; NVIDIA: LDS.128; Intel: load.slm.d32x4 (16 lanes)
    bytes = 0
    if (op ~ /ds_(load|read|store|write)/) {
        bytes = number(op, "_[bu][0-9]+", 2) / 8
        if (op ~ /2addr|read2|write2/)
            bytes *= 2
    } else if (op ~ /(^|[ \t])(LDS|STS)/) {
        bytes = op ~ /(LDS|STS)\.(U\.)?[0-9]/ ? number(op, "(LDS|STS)[.U]*[0-9]+", 4) / 8 : op ~ /U16/ ? 2 : 4
    } else if (op ~ /(load|store)\.slm/) {
        bytes = number(op, "\\.d[0-9]+", 2) / 8 * (match(op, /\.d[0-9]+x[0-9]+/) ? number(op, "\\.d[0-9]+x[0-9]+", 5) : 1)
        bytes *= number(op, "\\([0-9]+", 1)
    }
    is_read = op ~ /ds_(load|read)|LDS|load\.slm/
    read[n] = is_read ? bytes : 0
    written[n] = is_read ? 0 : bytes
    if (op ~ /s_c?branch|BRA|jmpi|goto|while/) {
        branch[n] = 1
        target[n] = op
    }
}
END {
    for (i = 1; i <= n; i++)
        for (name in at)
            if (branch[i] && at[name] < i && index(target[i], name) && target[i] ~ (name "([^0-9]|$)"))
                last[name] = i # of the branches back to it
    for (name in last) {
        count = 0
        for (k = at[name] + 1; k <= last[name]; k++)
            count += matrix[k]
        if (count > best || (count && count == best && last[name] - at[name] < to - from + 1)) {
            best = count
            from = at[name] + 1
            to = last[name]
        }
    }
    if (!best)
        exit
    for (k = from; k <= to; k++) {
        r += read[k]
        w += written[k]
        v += vector[k]
    }
    print best, to - from + 1, r, w, v + 0
}
