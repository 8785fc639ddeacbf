#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles every kernel for GPUs that are not here, and looks at what becomes of it:
#
#     tools/isa-check.sh [--table FILE] [--matrix] [TARGET]...
#
#     TARGET        gfx906 gfx908 gfx90a gfx942 gfx1030 gfx1100 gfx1151 gfx1200 (AMD), sm_75 sm_80 sm_86 sm_89 sm_90
#                   sm_120 (NVIDIA), skl dg2 pvc (Intel); default: all
#     --matrix      only the kernels for matrix units; also what their inner loops promise (see roofline below)
#     --table FILE  also write the registers, spills and local memory of each as a Markdown table
#
# AMD and NVIDIA: clang 19 with libclc, and ptxas (on the PATH, else from PyPI); near to what the drivers do,
# not the same. Intel: ocloc, the driver's own compiler. All are unpacked into $FINEDIFFUSION_RUNTIMES (else
# $XDG_CACHE_HOME/finediffusion/runtimes)/isa from Debian's archive; nothing is installed. A kernel fails
# when it does not compile, spills (Intel: more than 16 registers; matrix units: 16 bytes on NVIDIA, for odd
# sizes 128), uses over 32 KiB of local memory (36 in the backward of attention on matrix units), over 128 registers on NVIDIA (what the program asks its compiler
# to keep to), or over 128 VGPRs on gfx906 (136 in attention_dkv). Last line: "N passed, N failed, N skipped".
# Exit status 77: the compilers cannot be had here.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${FINEDIFFUSION_RUNTIMES:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/finediffusion/runtimes}/isa
table= only_matrix=
targets=()
while [ $# -gt 0 ]; do
    case $1 in
    --matrix) only_matrix=1 ;;
    --table) table=${2:?--table needs a file}; shift ;;
    -h | --help) sed -n '3,19s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "isa-check.sh: $1: unknown; see --help" >&2; exit 2 ;;
    *) targets+=("$1") ;;
    esac
    shift
done
[ ${#targets[@]} -gt 0 ] ||
    targets=(gfx906 gfx908 gfx90a gfx942 gfx1030 gfx1100 gfx1151 gfx1200 sm_75 sm_80 sm_86 sm_89 sm_90 sm_120
        skl dg2 pvc)

absent() { echo "isa-check.sh: $*" >&2; exit 77; }

setup() {
    [ -e "$cache/ready" ] && return
    command -v apt-get >/dev/null || absent "only Debian's packages of these compilers are known here"
    rm -rf "$cache" && mkdir -p "$cache/dl" "$cache/root"
    (cd "$cache/dl" && apt-get download -q clang-19 libclang-cpp19 libllvm19 libclang-common-19-dev libclc-19 \
        libclc-19-dev intel-opencl-icd libigc1 libigdfcl1 libigdgmm12 libllvmspirvlib14 libopencl-clang14 >&2) ||
        absent "the packages could not be fetched"
    for deb in "$cache"/dl/*.deb; do dpkg -x "$deb" "$cache/root"; done
    if ! command -v ptxas >/dev/null; then
        python3 -m venv "$cache/venv" >&2 && "$cache/venv/bin/pip" install -q nvidia-cuda-nvcc-cu12 >&2 ||
            absent "no ptxas on the PATH, and pip could not install nvidia-cuda-nvcc-cu12"
    fi
    rm -rf "$cache/dl"
    touch "$cache/ready"
}

setup
root=$cache/root lib=$cache/root/usr/lib/x86_64-linux-gnu
ptxas=$(command -v ptxas || find "$cache/venv" -name ptxas -type f | head -n 1)
# Only for what loops promise; without it that is left out for NVIDIA.
nvdisasm=$(command -v nvdisasm || find "$cache" -name nvdisasm -type f | head -n 1)
if [ -z "$nvdisasm" ] && [ -n "$only_matrix" ] && python3 -m venv "$cache/venv-dis" >&2 &&
    "$cache/venv-dis/bin/pip" install -q nvidia-cuda-nvdisasm >&2; then
    nvdisasm=$(find "$cache" -name nvdisasm -type f | head -n 1)
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0 skipped=0
rows=() loops=()

clang19() {
    LD_LIBRARY_PATH=$root/usr/lib/llvm-19/lib:$lib "$root/usr/lib/llvm-19/bin/clang" -x cl -cl-std=CL1.2 -O3 \
        -nogpulib "$@"
}

# amd TARGET OPTIONS: prints "KERNEL REGISTERS SPILLED LOCAL"
amd() {
    clang19 -target amdgcn--amdhsa "-mcpu=$1" -Xclang -mlink-builtin-bitcode -Xclang \
        "$root/usr/lib/clc/amdgcn--amdhsa.bc" -S -o "$work/k.s" "${@:2}" "$work/k.cl" || return 1
    awk '/^    \.group_segment_fixed_size:/ { lds = $2 } /^    \.name:/ { name = $2 }
         /^    \.private_segment_fixed_size:/ { scratch = $2 }
         /^    \.vgpr_count:/ { vgpr = $2 } /^    \.vgpr_spill_count:/ { print name, vgpr, scratch + $2, lds }' "$work/k.s"
}

nvidia() {
    local newest=$1
    [[ $1 != sm_1?? ]] || newest=sm_90 # that clang 19 knows; ptxas takes it on
    clang19 -target nvptx64--nvidiacl "-march=$newest" -Xclang -mlink-builtin-bitcode -Xclang \
        "$root/usr/lib/clc/nvptx64--nvidiacl.bc" -S -o "$work/k.ptx" "${@:2}" "$work/k.cl" || return 1
    "$ptxas" "-arch=$1" -maxrregcount=128 -v "$work/k.ptx" -o "$work/k.cubin" >"$work/ptxas" 2>&1 ||
        { cat "$work/ptxas" >&2; return 1; }
    awk '/Compiling entry function/ { split($0, q, "\x27"); name = q[2] }
         /bytes spill stores/ { spill = $5 + $9 }
         /Used [0-9]+ registers/ { lds = 0; for (i = 1; i < NF; i++) if ($(i + 1) ~ /^bytes/ && $(i + 2) ~ /^smem/) lds = $i
             match($0, /Used [0-9]+/); print name, substr($0, RSTART + 5, RLENGTH - 5), spill, lds }' "$work/ptxas"
}

intel() {
    local device=$1
    [ "$device" = dg2 ] && device=dg2-g10
    [ "$device" = pvc ] && set -- "$@" -DSIMD=16 # as host/opencl/opencl.c does
    rm -rf "$work/oc"
    LD_LIBRARY_PATH=$lib "$root/usr/bin/ocloc" compile -file "$work/k.cl" -device "$device" \
        -options "-cl-std=CL1.2 ${*:2}" --format zebin -out_dir "$work/oc" >"$work/ocloc" 2>&1 ||
        { cat "$work/ocloc" >&2; return 1; }
    local spill=0
    grep -q -i 'spill' "$work/ocloc" && spill=$(grep -o -i -E 'spilled around [0-9]+' "$work/ocloc" | sed -n '1s/.* //p')
    strings -n6 "$work"/oc/*.bin | awk -v spill="${spill:-1}" '
        function out() { if (name && simd) print name, "SIMD" simd, spill, slm + 0 }
        /- name: / { out(); name = $3; simd = slm = 0 }
        /simd_size:/ { simd = $2 } /slm_size:/ { slm = $2 } END { out() }'
}

# loop_of TARGET OPTIONS: the inner loop of the kernel that was compiled last, as tools/isa-loop.awk counts it
loop_of() {
    local target=$1 device=$1
    shift
    case $target in
    gfx*) cp "$work/k.s" "$work/loop" ;;
    sm_*)
        [ -n "$nvdisasm" ] || return 0
        "$nvdisasm" -c "$work/k.cubin" >"$work/loop" 2>/dev/null || return 0 ;;
    *)
        [ "$device" != dg2 ] || device=dg2-g10
        [ "$device" != pvc ] || set -- "$@" -DSIMD=16
        rm -rf "$work/pt" "$work/dis"
        mkdir -p "$work/iga" && cp "$lib/libiga64.so.1" "$work/iga/libiga64.so"
        LD_LIBRARY_PATH=$work/iga:$lib "$root/usr/bin/ocloc" compile -file "$work/k.cl" -device "$device" \
            -options "-cl-std=CL1.2 -DGROUP=256 $*" --format patchtoken -out_dir "$work/pt" >/dev/null 2>&1 || return 0
        LD_LIBRARY_PATH=$work/iga:$lib "$root/usr/bin/ocloc" disasm -file "$work"/pt/*.bin -device "$device" \
            -dump "$work/dis" >/dev/null 2>&1 || return 0
        cat "$work"/dis/*KernelHeap.asm >"$work/loop" 2>/dev/null || return 0 ;;
    esac
    awk -f "$top/tools/isa-loop.awk" "$work/loop"
}

# roofline TARGET TYPE REGISTERS LOCAL ITEMS TILE LOOP...: of 4096 x 4608 x 1152 in bf16 or int8 on a card with this chip,
# from its vendor's rates: dense bf16 with sums in f32, and int8 (datasheets of the H200, the MI300X and the RX 7900 XTX,
# NVIDIA's Ada whitepaper, Intel's XMX rates), which give multiply-adds a clock and unit; 128 bytes of local memory a clock and unit
# (the same vendors' guides). Shares of the rate:
#   local    bytes of local memory that the loop reads and writes, a multiply-add
#   issue    clocks of its matrix instructions over all that it issues, one a clock (RDNA3: its vector instructions
#            wait for the unit)
#   tiles    of the last round of groups, where units stand empty
# The paper's share is the least of the first two, times the third. L2: what it asks of that cache then (rows in f32,
# weights in 16 bits; int8 both), which no datasheet has.
# card, TFLOP/s, units, schedulers of each, madds and lanes of an instruction, registers, local bytes, madds a clock and
# unit; items_most
rates_of() { # TARGET TYPE
    case $1,$2 in
    sm_90,*) rates="H200 989 132 4 2048 32 65536 233472 2048" items_most=2048 ;;
    sm_89,*) rates="RTX_4090 165 128 4 2048 32 65536 102400 256" items_most=1536 ;;
    gfx942,*) rates="MI300X 1307 304 4 4096 64 131072 65536 1024" items_most=2048 ;;
    gfx1100,*) rates="RX_7900_XTX 123 96 2 4096 32 98304 65536 256" items_most=1024 ;;
    dg2,*) rates="A770 138 32 16 1024 1 0 65536 1024" items_most=1024 ;;
    *) return 1 ;;
    esac
    case $1,$2 in
    sm_90,int8) rates="H200 1979 132 4 4096 32 65536 233472 4096" ;;
    sm_89,int8) rates="RTX_4090 661 128 4 4096 32 65536 102400 1024" ;;
    gfx942,int8) rates="MI300X 2615 304 4 8192 64 131072 65536 2048" ;;
    dg2,int8) rates="A770 275 32 16 2048 1 0 65536 2048" ;;
    esac
}

roofline() {
    local rates items_most
    rates_of "$1" "$2" || return 0
    # shellcheck disable=SC2086 # words
    set -- "$2" "$3" "$4" "$5" "$6" $rates "${@:7}"
    [ $# -ge 19 ] || { echo "roofline $6 $1: no disassembler here"; return 0; }
    echo "$*" | awk '{
        card = $6; tera = $7; units = $8; schedulers = $9; madds = $10; lanes = $11; registers = $12; local = $13
        per_clock = $14; matrix = $15; all = $16; bytes = ($17 + $18) * lanes / (matrix * madds); vector = $19
        groups = int(local / $3)
        if (registers && int(registers / ($2 * $4)) < groups)
            groups = int(registers / ($2 * $4))
        if (!registers && int(8 * schedulers * 8 / $4) < groups)
            groups = int(8 * schedulers * 8 / $4)
        memory = 128 / bytes / per_clock
        busy = matrix * madds / (per_clock / schedulers)
        issue = card ~ /7900/ ? busy / (busy + vector) : busy / all
        least = memory < issue ? memory : issue
        least = least < 1 ? least : 1
        count = int(4096 / $5) * int(4608 / $5); slots = units * groups
        rounds = int((count + slots - 1) / slots)
        tiles = count / (rounds * slots)
        share = least * tiles
        gsub(/_/, " ", card)
        printf "roofline %s, %s: %d of %d instructions of the loop multiply (%.0f %%), %.3f bytes of local memory a multiply-add, " \
            "%d groups of %d a unit; local memory %.0f %%, issue %.0f %%, tiles %.0f %%: %.0f %% of %d T/s on paper, L2 %.1f TB/s\n",
            card, $1, matrix, all, 100 * matrix / all, bytes, groups, $4, 100 * memory, 100 * issue, 100 * tiles, 100 * share, tera,
            share * tera / 2 * ($1 == "int8" ? 1 + 1 : 4 + 2) / $5
    }'
}

# occupancy TARGET KERNEL REGISTERS LOCAL ITEMS SPILLED LOOP...: of attention with heads of 72: what its loop over the other
# side has as it is written (loops inside of it that are not written out count once), and how many of the work-items that
# a unit can hold its registers and local memory leave room for.
occupancy() {
    local rates items_most
    rates_of "$1" bf16 || return 0
    [ $# -ge 11 ] || { echo "$2 $1: no disassembler here"; return 0; }
    echo "$rates $items_most $2 $3 $4 $5 $6 $7 $8" | awk '{
        card = $1; registers = $7; local = $8; most = $10; need = $12 + 0; items = $14
        groups = int(local / $13)
        if (registers && need && int(registers / (need * items)) < groups)
            groups = int(registers / (need * items))
        if (int(most / items) < groups)
            groups = int(most / items)
        gsub(/_/, " ", card)
        printf "%s %s: %d of %d instructions of its loop multiply (%.0f %%), %s%s, %d spilled, %d bytes of local memory, groups of %d: " \
            "%d a unit, %.0f %% of its work-items\n", $11, card, $16, $17, 100 * $16 / $17, $12, need ? " registers" : "",
            $15, $13, items, groups, 100 * groups * items / most
    }'
}

# one TARGET FILE OPTIONS...
one() {
    local target=$1 file=$2 kind kind_limit=0 limit=32768 name registers spilled local verdict items side all type
    shift 2
    case $target in gfx*) kind=amd ;; sm_*) kind=nvidia ;; *) kind=intel kind_limit=16 ;; esac
    cat "$top/cl/prelude.cl" "$top/cl/$file" | awk -v folder="$top/cl/" '
        !/^#include "/ { print; next }
        { gsub(/"/, "", $2); while ((getline line < (folder $2)) > 0) print line; close(folder $2) }' >"$work/k.cl"
    if ! "$kind" "$target" -DGROUP=256 "$@" >"$work/out" || ! [ -s "$work/out" ]; then
        failed=$((failed + 1)); echo "FAIL: $target $file $*: does not compile"
        return
    fi
    while read -r name registers spilled local; do
        verdict= vgprs=128
        # bytes, outside of the loop; number by number, for odd sizes, more
        [[ $name != linear_matrix || $target != sm_* ]] || kind_limit=16
        [[ $name != linear_matrix || "$*" == *ALIGNED* ]] || kind_limit=128
        [ "$name" != attention_dkv ] || vgprs=136 # two results a work-item; at 128 it would spill
        [[ $name != attention_dkv_matrix || $target != dg2 ]] || kind_limit=20 # heads of 128
        [ "$spilled" -le $((kind_limit)) ] || verdict="spills $spilled"
        [[ $name != attention_d*_matrix ]] || limit=36864 # four tiles; the devices with such units have 48 KiB
        [ "$local" -le $limit ] || verdict="$local bytes of local memory"
        [ "$target" != gfx906 ] || [ "$registers" -le "$vgprs" ] || verdict="$registers VGPRs"
        rows+=("| $file | $name | $* | $target | $registers | $spilled | $local |")
        if [[ $name == linear_matrix && "$*" == *"-DW_TYPE="[23]" -DACT=1 -DALIGNED -DB_ROWS" ]]; then
            items=256 side=128 type=bf16
            [[ "$*" != *-DINT8* ]] || type=int8
            [[ "$*" != *ITEMS=128* ]] || items=128 side=64
            [ "$kind" != intel ] || registers=0
            # shellcheck disable=SC2046 # words
            loops+=("$(roofline "$target" $type "$registers" "$local" $items $side $(loop_of "$target" "$@"))")
        fi
        if [[ $name == attention*_matrix && "$*" == *HEAD=72* && "$*" != *mwave* ]]; then
            all=$* items=${all#*-DITEMS=}
            # shellcheck disable=SC2046 # words
            loops+=("$(occupancy "$target" "$name" "$registers" "$local" "${items%% *}" "$spilled" $(loop_of "$target" "$@"))")
        fi
        if [ -z "$verdict" ]; then
            passed=$((passed + 1))
        else
            failed=$((failed + 1)); echo "FAIL: $target $file $name $*: $verdict"
        fi
    done <"$work/out"
}

# What the program builds on a GPU: host/opencl/gemm.c, attention.c, programs.c.
builds() {
    local t=$1 h w k file tile=(-DBX=16 -DBY=8 -DIN=4 -DTK=16) unroll
    case $t in sm_*) unroll=-DUNROLL=8 ;; gfx*) unroll=-DUNROLL=4 ;; *) unroll=-DUNROLL=2 ;; esac
    tile+=("$unroll")
    for file in norm reduce pointwise diffusion optimiser picture transpose epilogue; do
        [ ! -e "$top/cl/$file.cl" ] || one "$t" "$file.cl"
    done
    for w in 0 1 2 3; do
        one "$t" linear.cl -DITEM_M=1 -DITEM_N=4 -DTK=16 -DW_TYPE=$w -DB_ROWS
        for k in 8 4; do
            one "$t" linear_block.cl "${tile[@]}" -DIM=$k -DW_TYPE=$w -DACT=1 -DALIGNED -DB_ROWS
            one "$t" linear_block.cl "${tile[@]}" -DIM=$k -DW_TYPE=$w -DACT=1 -DSLOPE -DALIGNED
        done
    done
    one "$t" linear_block.cl "${tile[@]}" -DIM=8 -DALIGNED -DA_COLUMNS -DB_ROWS
    one "$t" linear_block.cl "${tile[@]}" -DIM=8 -DACT=1 -DB_ROWS
    for dot in $(dots_of "$t"); do
        one "$t" linear_block.cl "${tile[@]}" -DIM=8 -DINT8 "-DDOT=$dot" -DW_TYPE=3 -DACT=1 -DALIGNED -DB_ROWS -Dasm=__asm__
    done
    for h in 64 72; do
        for k in FORWARD DELTA DQ DKV; do one "$t" attention.cl -D$k -DHEAD=$h -DBY=16 -DALIGNED $unroll; done
    done
    one "$t" attention.cl -DFORWARD -DHEAD=128 -DBY=16 -DALIGNED $unroll
}

# DOT of cl/int8.h that the target has
dots_of() {
    case $1 in
    sm_*) echo 0 2 ;;
    gfx11* | gfx12*) echo 0 4 ;;
    gfx906 | gfx908 | gfx90a | gfx942 | gfx1030) echo 0 3 ;;
    *) echo 0 ;;
    esac
}

# The target's matrix unit and its tiles, as host/opencl/matrix.c has them: `unit` for a product; for attention `heads`,
# lanes, hardware threads along 64 rows, and across them for head sizes to 80 and beyond. Fails where it has none.
unit_of() {
    local intel="-DITEMS=128 -DTM=64 -DTN=64 -DWAVES_M=4" mad=-Dcl_intel_subgroup_matrix_multiply_accumulate=1
    case $1 in
    sm_[89]? | sm_1??) chip="-DUNIT=1 -Dasm=__asm__" unit=-DWAVES_M=2 heads=(32 4 2 4) ;; # NVIDIA's own front end knows asm
    gfx11*) chip=-DUNIT=2 unit=-DWAVES_M=2 heads=(32 4 2 2) ;;
    gfx12*) chip=-DUNIT=3 unit=-DWAVES_M=2 heads=(32 4 2 2) ;;
    gfx90a | gfx942) chip=-DUNIT=4 unit=-DWAVES_M=2 heads=(64 4 1 2) ;;
    gfx908) chip="-DUNIT=4 -DF16" unit=-DWAVES_M=2 heads=(64 4 1 2) ;;
    dg2) chip="-DUNIT=5 $mad" unit=$intel heads=(8 8 4 4) ;;
    pvc) chip="-DUNIT=6 $mad" unit=$intel heads=(16 8 2 2) ;;
    *) return 1 ;;
    esac
}

# attention_of HEAD: the options of attention_matrix.cl for this head size
attention_of() {
    local rows=64 m=${heads[1]} n=${heads[2]}
    [ "$1" -le 80 ] || rows=32 m=$((m / 2)) n=${heads[3]}
    echo "-DITEMS=$((heads[0] * m * n)) -DTM=$rows -DWAVES_M=$m -DHEAD=$1"
}

# linear_matrix.cl: forward of a weight in bf16, dX with a slope, dW, and whatever is not a multiple of 4; f16 where
# there is no bf16. attention_matrix.cl: head sizes 64 and 72, 128 in groups of half as many rows, 31 number by number.
matrix_builds() {
    local t=$1 form kernel head chip unit heads
    unit_of "$t" || return 0
    # shellcheck disable=SC2046,SC2086 # words
    {
        for form in "-DW_TYPE=2 -DACT=1 -DALIGNED -DB_ROWS" "-DW_TYPE=2 -DACT=1 -DSLOPE -DALIGNED" \
            "-DALIGNED -DA_COLUMNS -DB_ROWS" "-DACT=1 -DB_ROWS" "-DF16 -DW_TYPE=1 -DACT=1 -DALIGNED -DB_ROWS"; do
            [[ $chip == *" -DF16"* && $form == *-DF16* ]] || one "$t" linear_matrix.cl $chip $unit $form
        done
        one "$t" linear_matrix.cl $chip $unit -DINT8 -DW_TYPE=3 -DACT=1 -DALIGNED -DB_ROWS
        # wave64, which a driver may choose
        [[ $t != gfx11* ]] || one "$t" linear_matrix.cl -mwavefrontsize64 $chip $unit -DALIGNED -DB_ROWS
        for kernel in FORWARD DQ DKV; do
            for head in 64 72 128; do
                one "$t" attention_matrix.cl $chip $(attention_of $head) -D$kernel -DALIGNED
            done
            one "$t" attention_matrix.cl $chip $(attention_of 31) -D$kernel
        done
        if [[ $t == gfx11* ]]; then
            heads=(64 4 1 2)
            for kernel in FORWARD DQ DKV; do
                one "$t" attention_matrix.cl -mwavefrontsize64 $chip $(attention_of 72) -D$kernel -DALIGNED
            done
        fi
    }
}

for target in "${targets[@]}"; do
    [ -n "$only_matrix" ] || builds "$target"
    matrix_builds "$target"
done
if [ -n "$table" ]; then
    { echo "| file | kernel | options | target | registers | spilled | local memory |"
      echo "|---|---|---|---|---:|---:|---:|"
      printf '%s\n' "${rows[@]}"; } >"$table"
fi
[ ${#loops[@]} = 0 ] || printf '%s\n' "${loops[@]}" | sed '/^$/d'
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
