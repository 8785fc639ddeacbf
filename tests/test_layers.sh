#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Dependencies point one way: a folder includes only what stands above it in this list, src never includes a
# device's headers, and CL's headers are in host/opencl alone. Each test has a name of its own.
set -u
cd "${FDIT_SRCDIR:-$(dirname "$0")/..}" || exit 99
checks=0 failures=0
fail() { failures=$((failures + 1)); echo "FAIL: $1"; }

# Folders of src, from the bottom up; those of one line do not know each other.
layers='core
format device
picture diffusion
data net
model vae
eval encode
sample
train
demo bench api serve
selftest
cli'
rank_of() { echo "$layers" | awk -v folder="$1" '{ for (i = 1; i <= NF; i++) if ($i == folder) print NR }'; }

for folder in src/*/; do
    folder=$(basename "$folder")
    own=$(rank_of "$folder")
    checks=$((checks + 1))
    [ -n "$own" ] || { fail "src/$folder has no place in the list of this test"; continue; }
    for file in src/"$folder"/*.[ch]; do
        checks=$((checks + 1))
        for include in $(sed -n 's/^# *include "\([^"]*\)".*/\1/p' "$file"); do
            case $include in
            finediffusion.h | commit.h | build_info.h) continue ;; # the last two are made by make
            device/backend.h)
                [ "$folder" = device ] || fail "$file includes $include: only src/device and host know back ends"
                continue ;;
            devices.h) # what opens a device by its name
                [ "$own" -ge "$(rank_of api)" ] || fail "$file includes devices.h: only api and above open devices"
                continue ;;
            device_words.h) # what the help says of devices
                [ "$folder" = cli ] || fail "$file includes device_words.h: only the help names devices"
                continue ;;
            ranks.h) # what joins other processes
                [ "$folder" = cli ] || fail "$file includes ranks.h: only the program joins other processes"
                continue ;;
            */*) ;;
            *) fail "$file includes \"$include\" without its folder"; continue ;;
            esac
            other=${include%%/*}
            rank=$(rank_of "$other")
            if [ -z "$rank" ]; then
                fail "$file includes $include: not a folder of src"
            elif [ "$other" != "$folder" ] && [ "$rank" -ge "$own" ]; then
                fail "$file includes $include: src/$other is not below src/$folder"
            fi
        done
    done
done

# A device knows core, the device interface and itself.
for file in host/*/*.[ch] host/*/*.inc; do
    own=$(basename "$(dirname "$file")")
    checks=$((checks + 1))
    for include in $(sed -n 's/^# *include "\([^"]*\)".*/\1/p' "$file"); do
        case $include in
        core/* | device/* | "$own"/* | finediffusion.h | devices.h | ranks.h | cl/flags.h) ;;
        *) [ -f "host/$own/$include" ] || fail "$file includes $include: a device knows core, device and itself" ;;
        esac
    done
done

checks=$((checks + 1))
for file in $(grep -l -E '^# *include [<"](CL/|clblast)' src/*/*.[ch] host/*.[ch] host/*/*.[ch] include/*.h); do
    case $file in host/opencl/*) ;; *) fail "$file includes headers of OpenCL" ;; esac
done

# Nor by what headers include in turn: with OpenCL built in, a system that hides CL's headers compiles all the
# rest. -MG: a header that is not there is listed as one that is.
checks=$((checks + 1))
# shellcheck disable=SC2086
listed=$(${FDIT_CC:-cc} -M -MG -DHAVE_OPENCL=1 -DHAVE_CLBLAST=1 -DFDIT_ISA=generic -DFDIT_VLEN=4 -D_GNU_SOURCE \
    -I. -Iinclude -Isrc -Ihost src/*/*.c host/*.c host/cpu/*.c host/ref/*.c 2>&1) || fail "$listed"
case $listed in
*host/devices.c*) ;;
*) fail "the compiler lists no headers: $listed" ;;
esac
found=$(echo "$listed" | grep -oE '[^ ]*(CL/|clblast)[^ ]*\.h' | head -n 1)
[ -z "$found" ] || fail "$found is included outside host/opencl"

# Lines, columns, and functions of at most 60 lines: tools/format.sh, which sees one of 61.
checks=$((checks + 2))
tools/format.sh --plain || fail "the form of the sources"
long=$(mktemp) || exit 99
awk 'BEGIN {
    print "/* SPDX-License-Identifier: Apache-2.0 */\nint of_60(void)\n{"
    for (i = 0; i < 57; i++) print "    step();"
    print "}\n\nSTART_TEST(of_61)\n{"
    for (i = 0; i < 58; i++) print "    step();"
    print "}\nEND_TEST"
}' >"$long"
said=$(tools/format.sh --plain "$long") && fail "a function of 61 lines is not seen"
rm -f "$long"
case $said in
*'61 lines in START_TEST(of_61)') ;;
*) fail "of functions of 60 and 61 lines it says: $said" ;;
esac

# Nor does a ruler pass that reflowing has split; another version of clang-format is named and not asked.
checks=$((checks + 3))
bin=$(mktemp -d) || exit 99
printf '/* SPDX-License-Identifier: Apache-2.0 */\n/* -------------------- whole */\n' >"$bin/whole.c"
printf '/* SPDX-License-Identifier: Apache-2.0 */\n/* --------------------\n * split */\n' >"$bin/split.c"
tools/format.sh --plain "$bin/whole.c" || fail "a ruler on one line is refused"
said=$(tools/format.sh --plain "$bin/split.c") && fail "a ruler without its text is not seen"
printf '#!/bin/sh\necho "clang-format version 99.0"\n' >"$bin/clang-format"
chmod +x "$bin/clang-format"
said=$(PATH=$bin:$PATH tools/format.sh "$bin/whole.c" 2>&1) || fail "another clang-format fails: $said"
case $said in
*skipped*'version 99.0'*) ;;
*) fail "of another clang-format it says: $said" ;;
esac
rm -rf "$bin"

# make check calls the results of both NAME and NAME.sh tests/NAME.log, and runs one of them.
for file in tests/*.sh; do
    checks=$((checks + 1))
    [ ! -e "${file%.sh}.c" ] || fail "$file and ${file%.sh}.c: of two tests of one name make check runs one"
done

checks=$((checks + 1))
for file in $(grep -l -E '^# *include [<"]mpi.h' src/*/*.[ch] host/*.[ch] host/*/*.[ch] include/*.h); do
    case $file in host/mpi/*) ;; *) fail "$file includes headers of MPI" ;; esac
done

echo "$checks checks, $failures failures"
[ $failures -eq 0 ]
