#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The command line: bad input ends with one line that names the thing and the remedy, with the right exit
# code and nothing half-written; help and manual agree.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
fixtures=${FDIT_FIXTURES:-$source/tests/fixtures}
newline='
'

tree() { find "$1" \( -type f -exec cksum {} + \) -o -print 2>/dev/null; }

# bad CODE WORDS COMMAND ARGUMENT...: the program ends with CODE and one line "finediffusion: COMMAND: "
# that has each of the WORDS (with commas between; ~ is a space), and area/ is as it was.
bad() {
    code=$1 words=$2
    shift 2
    checks=$((checks + 1))
    tree area >before
    "$program" "$@" >stdout 2>stderr
    got=$?
    tree area >after
    message=$(sed '/^[a-z]*: [^:]*, [0-9]*:[0-9][0-9]$/d' stderr) # but the phases that a slow machine is told of
    [ $got = "$code" ] || fail "exit $got instead of $code: $*" "$message"
    case $message in
    *"$newline"*) fail "not one line on stderr: $*" "$message" ;;
    "finediffusion: $1: "*) ;;
    *) fail "not 'finediffusion: $1: ...': $*" "$message" ;;
    esac
    rest=$words
    while [ -n "$rest" ]; do
        word=${rest%%,*}
        while :; do
            case $word in *~*) word="${word%%~*} ${word#*~}" ;; *) break ;; esac
        done
        case $rest in *,*) rest=${rest#*,} ;; *) rest= ;; esac
        case $message in
        *"$word"*) ;;
        *) fail "'$word' is not in the message of: $*" "$message" ;;
        esac
    done
    cmp -s before after || fail "files changed: $*" "$(diff before after)"
}
# good COMMAND ARGUMENT...: exit 0.

# ------------------------------------------------------------------ what all use: area/
mkdir area area/data
gzip -dc "$source/data/letters-test.tar.gz" | (cd area/data && tar xf - A/mono A/hand B/mono B/hand) ||
    exit 99
data=area/data
scratch="--from-scratch --tune full --model 32,1,2,8 --size 24 --channels 1 --preview-every 0 --batch 4"
good train $scratch --data $data --steps 2 --out area/base --quiet
base=area/base/delta.safetensors
tune="--base $base --data $data --steps 2 --batch 4 --out area/new"
good inspect $base
says stdout 'width 32, depth 1, heads 2, patch 8, input 24x24 with 1 channel, table of 6 rows'
good inspect $data --pictures --json
says stdout '"pictures_decoded": '
good inspect area/base
says stdout 'finished     yes'
good inspect area/base/checkpoints/step-2.safetensors --json
says stdout '"step": 2,'
good inspect area/base --classes
says stdout '^class	level1$'
says stdout '^B/hand	B$'
cp stdout area/classes.tsv
good inspect $data --taxonomy area/classes.tsv --classes
checks=$((checks + 1))
sed 's/	[^	]*$//' stdout | cmp -s - area/classes.tsv ||  # without the last column, numbers of pictures
    fail "--classes of data and run differ" "$(cat stdout)"

# ------------------------------------------------------------------ the command line itself
# what was meant; the version in all the ways it is asked for
meant() { # meant WORDS ARGUMENT...
    checks=$((checks + 1))
    expected=$1
    shift
    "$program" "$@" >stdout 2>stderr
    [ $? = 2 ] && [ ! -s stdout ] && [ "$(messages stderr)" -eq 1 ] || fail "not refused with one line: $*"
    says stderr "$expected"
}
meant "'trian' is not a command of this version; did you mean train?" trian
meant 'did you mean inspect?' inpsect x
meant 'did you mean sample?' generate
meant 'options follow a command' --quiet train
meant 'did you mean taxonomy?' help taxnomy
meant 'did you mean bench?' help benhc
for word in --version -V version; do
    good $word
    says stdout "^finediffusion [0-9]"
    says stdout '^commit  *[^ ]'
    says stdout '^compiler  *[^ ]'
    says stdout '^instructions  *generic'
done
checks=$((checks + 1))
"$program" >stdout 2>stderr
[ $? = 2 ] && [ ! -s stdout ] && [ "$(messages stderr)" -eq 1 ] || fail "no command" "$(cat stderr)"
for name in convert encode eval tune selftest frobnicate; do
    "$program" --help | grep -q "^  $name " && continue
    checks=$((checks + 1))
    "$program" $name --help >stdout 2>stderr
    [ $? = 2 ] && [ ! -s stdout ] || fail "$name is not a command, yet it is not refused with 2"
    says stderr "'$name' is not a command of this version; there are .*; see finediffusion --help"
done
bad 2 "--foo,train~--help" train --foo 3
bad 2 "--stps,Did~you~mean~--steps?" train --stps 3
bad 2 "--grid~is~not~known~to~train,sample" train --grid x.png
bad 2 "-steps,two~dashes:~--steps" train -steps 3
bad 2 "not~a~hyphen,write~--steps" train "$(printf '\342\200\224steps')" 3
bad 2 "--fit~corp,did~you~mean~crop?" train $tune --fit corp
bad 2 "--b~,in~full" train --b 3
bad 2 "-x" train -x
bad 2 "--steps,--steps~N" train --steps
bad 2 "--from-scratch,=yes" train --from-scratch=yes
bad 2 "--resume,area/none" train --resume=area/none
bad 2 "'word',usage" train word
bad 2 "--steps~abc,whole~number" train $tune --steps abc
bad 2 "--steps~1x,whole~number" train $tune --steps 1x
bad 2 "--steps~1e4,in~digits,10000" train $tune --steps 1e4
bad 2 "--steps~1e16,in~digits" train $tune --steps 1e16
bad 2 "--steps~0x10,in~digits" train $tune --steps 0x10
bad 2 "--steps~99999999999999999999,from~1~to~1000000000000000" train $tune --steps 99999999999999999999
bad 2 "--lr~1e400,out~of~range" train $tune --lr 1e400
bad 2 "--lr~1e-400,out~of~range" train $tune --lr 1e-400
bad 2 "--lr~0x1p-3,not~a~number" train $tune --lr 0x1p-3
bad 2 "--lr~inf,not~a~number" train $tune --lr inf
bad 2 "--lr~0;5" train $tune --lr "0;5"
bad 2 "--memory~0,512M" train $tune --memory 0
bad 2 "--memory~-1,not~a~size" train $tune --memory -1
bad 2 "--memory~99999999999T,out~of~range" train $tune --memory 99999999999T
bad 1 "10~bytes,unit~is~missing,the~plan~needs,MiB" train $tune --memory 10 --quiet
bad 2 "--batch~99999999999,from~1~to~1048576" train $tune --batch 99999999999
bad 2 "--lr~fast,not~a~number" train $tune --lr fast
bad 2 "--lr~nan,not~a~number" train $tune --lr nan
bad 2 "--memory~lots,6G" train $tune --memory lots
bad 2 "--fit~stretch,crop|pad" train $tune --fit stretch
bad 2 "--betas~0.9,with~a~comma" train $tune --betas 0.9
bad 2 "--ema~0.9:fast,:exact" train $tune --ema 0.9:fast
bad 2 "--seed~-1,from~0" train $tune --seed -1
bad 2 "--out,empty" train $tune --out ''
bad 2 "nosuch,cpu" train $tune --device nosuch
bad 2 "abacus,does~not~exist" train $tune --device cpu,abacus
bad 2 "--threads~-1" train $tune --threads -1
bad 2 "--precision~fast,bf16|f16|int8|auto" train $tune --precision fast
bad 1 "--precision~f16,--precision~f32" train $tune --precision f16 --device cpu
bad 1 "--weights~f16,--weights~f32" train $tune --weights f16 --device cpu
FINEDIFFUSION_ISA=generic
export FINEDIFFUSION_ISA
bad 1 "--precision~bf16,generic,--precision~f32" train $tune --precision bf16 --device cpu
bad 1 "--precision~int8,generic,--precision~f32" train $tune --precision int8 --device cpu
unset FINEDIFFUSION_ISA
bad 2 "lora:0,rank" train $tune --tune lora:0
bad 2 "dream,is~not~known,lora:R" train $tune --tune dream
bad 2 "--tune~all,finediffusion" train $tune --tune all
bad 2 "'nothing',--help" help nothing
bad 2 "--out~area/none/x.png,no~folder~area/none,make~it" demo --out area/none/x.png
bad 2 "--out~area~is~a~folder,give~a~file" demo --out area
bad 2 "--report~area/none/x,make~it" selftest --tiny --report area/none/x
bad 2 "--chart~area/none/x,make~it" bench 'linear 8x8x8' --chart area/none/x.svg
bad 2 "usage" inspect
FINEDIFFUSION_DEVICE=nosuch
bad 2 "FINEDIFFUSION_DEVICE=nosuch,cpu" train $tune
FINEDIFFUSION_DEVICE=cpu,cpu
bad 2 "FINEDIFFUSION_DEVICE=cpu,twice" train $tune
FINEDIFFUSION_DEVICE=cpu

# ------------------------------------------------------------------ options of training
bad 2 "--data,folder" train --base $base --steps 2 --out area/new
bad 2 "--out,folder" train --base $base --data $data --steps 2
bad 2 "--base,--from-scratch" train --data $data --steps 2 --out area/new
bad 2 "--model" train --from-scratch --tune full --data $data --steps 2 --out area/new
bad 2 "--tune~full" train --from-scratch --model DiT-S/4 --data $data --steps 2 --out area/new
bad 2 "--steps~0,number~of~at~least~1" train $tune --steps 0
bad 2 "--steps~-3,number~of~at~least~1" train $tune --steps -3
bad 2 "--steps,--epochs,one~of" train $tune --epochs 2
bad 2 "--batch~0,from~1~to~1048576" train $tune --batch 0
bad 2 "--keep~-3,number~of~at~least~0" train $tune --keep -3
bad 2 "number~1~is,from~0~to~0.999999999" train $tune --betas 1,0.9
bad 2 "--batch~5000,pictures,smaller~batch" train $tune --batch 5000
bad 2 "--batch~20,--accumulate~30,pictures" train $tune --batch 20 --accumulate 30
bad 2 "--lr~-1" train $tune --lr -1
bad 2 "--drop-prob~2" train $tune --drop-prob 2
bad 2 "--workers~-1" train $tune --workers -1
bad 2 "--size~32,leave~the~option~out" train $tune --size 32
bad 2 "nix,level1" train $tune --superclass nix
bad 2 "nix,level1" train $tune --superclass-train level1,nix
bad 2 "0.0001,larger~share" train $tune --val 0.0001
bad 1 "limit,--batch" train $tune --memory 10K --quiet
good train $tune --plan --memory 1G
says stdout 'sum on the device  *[0-9.]* MiB$'
good train $tune --plan --memory 1G --json
says stdout '^{"plan":true,"device_bytes":[0-9]*,.*"limit_bytes":1073741824,.*"kinds":\['
bad 2 "area/base,not~empty,--resume" train $tune --out area/base
bad 2 "$base,folder" train $tune --out $base
bad 2 "--resume,$data,config.json" train $tune --out $data --resume
bad 2 "--lr,0.0001,0.5" train $scratch --data $data --steps 3 --out area/base --resume --lr 0.5

# ------------------------------------------------------------------ files that are not checkpoints
put() { # put FILE OFFSET: bytes of stdin into the file
    dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}
size=$(wc -c <$base)
mkdir area/broken
cp "$data"/A/mono/*.000.png area/broken/picture.safetensors
dd if=$base of=area/broken/cut.safetensors bs=$((size - 100)) count=1 2>/dev/null
dd if=$base of=area/broken/header.safetensors bs=100 count=1 2>/dev/null
for name in huge nan missing shape type; do cp $base area/broken/$name.safetensors; done
printf '\377\377\377\377\377\377\377\177' | put area/broken/huge.safetensors 0
printf '\000\000\300\177' | put area/broken/nan.safetensors $((size - 4))
edit() { # edit FILE SED: same length or nothing
    sed "$2" "$1" >edited && [ "$(wc -c <edited)" -eq "$(wc -c <"$1")" ] && ! cmp -s edited "$1" &&
        mv edited "$1" || { echo "cannot edit $1"; exit 99; }
}
edit area/broken/missing.safetensors 's/"blocks\.0\.mlp\.fc2\.bias"/"blocks.0.mlp.fc2.bigs"/'
edit area/broken/shape.safetensors 's/\("blocks.0.attn.proj.weight"[^}]*\)\[32,32\]/\1[16,64]/'
edit area/broken/type.safetensors 's/\("blocks.0.attn.proj.weight"[^}]*\)"F32"/\1"I32"/'
for file in area/broken/*.safetensors; do
    bad 1 "$file,;" inspect $file
    bad 1 "$file,;" train --base $file --data $data --steps 2 --batch 4 --out area/new
done 
for pair in cut:cut~off huge:header nan:NaN missing:blocks.0.mlp.fc2 shape:[32 type:I32; do
    bad 1 "${pair#*:}" inspect "area/broken/${pair%%:*}.safetensors"
done
bad 1 "area/none.safetensors" inspect area/none.safetensors
bad 1 "area/none.safetensors" train $tune --base area/none.safetensors
bad 1 ".none,cannot~be~opened" train $tune --delta $base.none
for file in "$fixtures"/bad/*.safetensors; do
    case $file in */ok*) continue ;; esac
    bad 1 "$(basename "$file")" inspect "$file"
done
for file in "$fixtures"/bad/ok.safetensors "$fixtures"/formats/dit*.safetensors; do
    [ -f "$file" ] && good inspect "$file"
done

# Several at once: each is described, whatever the others are; the worst decides the exit status.
good inspect $base $data area/base
equal "headings of three reports" "$(grep -c '^[^ ]' stdout)" 3
equal "empty lines between them" "$(grep -c '^$' stdout)" 2
says stdout "^$base: delta\|^$base: checkpoint"
says stdout "^$data: data set"
says stdout '^area/base: run'
good inspect $base --json
cp stdout alone
good inspect $base $data --json
equal "the first character of a list" "$(head -c 1 stdout)" '['
checks=$((checks + 1))
tr -d ' \n' <alone >words
tr -d ' \n' <stdout | grep -qFe "[$(cat words),{" || fail "an object in the list is not that of the file alone" "$(cat stdout)"
several() { # CODE ARGUMENT...
    checks=$((checks + 1))
    code=$1
    shift
    "$program" inspect "$@" >stdout 2>stderr
    got=$?
    [ $got = "$code" ] || fail "exit $got instead of $code: inspect $*" "$(cat stderr)"
}
several 1 area/none.safetensors $base area/broken/nan.safetensors
equal "headings of one report" "$(grep -c '^[^ ]' stdout)" 1
equal "lines of two faults and their number" "$(wc -l <stderr)" 3
says stderr '^finediffusion: inspect: area/none.safetensors: '
says stderr '^finediffusion: inspect: area/broken/nan.safetensors: .*NaN'
says stderr '^finediffusion: inspect: 2 of 3 files cannot be used'
several 1 area/none.safetensors $base area/broken/nan.safetensors --json
equal "objects in the list" "$(grep -c '"path":' stdout)" 3
equal "of which with errors" "$(grep -c '"error": "area/.*' stdout)" 2
picture=$(find $data -name '*.png' | head -n 1)
several 1 area/none.safetensors "$picture" --json
nameless=$fixtures/formats/dit.safetensors
several 2 area/none.safetensors $nameless $base --classes --json # a mistake of the user is worse
says stderr '^finediffusion: inspect: --classes: .*says nothing of classes'
equal "tables of classes" "$(grep -c '"taxonomy": "class' stdout)" 1
bad 2 "--classes,one~file" inspect $base $data --classes

# ------------------------------------------------------------------ data sets
fresh() { rm -rf area/d; cp -R "$data" area/d; }
dtune="--base $base --data area/d --steps 2 --batch 4 --out area/new"
fresh; mkdir area/d/A/empty
bad 1 "A/empty,picture" train $dtune
if [ "$(id -u)" != 0 ]; then
    fresh; chmod 0 area/d/A/mono
    bad 1 "area/d/A/mono" train $dtune
    chmod 700 area/d/A/mono
fi
fresh
printf 'class\tletter\nA/mono\tA\nA/hand\tA\nB/mono\tB\n' >area/short.tsv
bad 1 "B/hand,taxonomy" train $dtune --taxonomy area/short.tsv
printf 'class\tletter\nA/mono\tA\nA/hand\tA\nB/mono\tB\nB/hand\tB\nC/none\tC\n' >area/long.tsv
bad 1 "C/none" train $dtune --taxonomy area/long.tsv
printf 'class\tletter\nA/mono\tA\nA/hand\tA\nB/mono\tB\nB/hand\t\n' >area/hole.tsv
bad 1 "B/hand,letter" train $dtune --taxonomy area/hole.tsv
bad 2 "colour,letter" train $dtune --taxonomy area/long.tsv --ranks colour
bad 1 "area/none.tsv" train $dtune --taxonomy area/none.tsv
bad 1 "area/none" train $dtune --data area/none
mkdir area/nothing
bad 1 "area/nothing" train $dtune --data area/nothing
bad 1 "area/nothing" inspect area/nothing
mkdir area/web
cp "$data"/A/mono/*.000.png area/web/one.png
echo 9 >area/web/one.cls
(cd area/web && tar cf ../web.tar one.png one.cls) && rm -r area/web
printf 'class\tletter\nA\tx\nB\tx\n' >area/two.tsv
bad 1 "web.tar,9" train $dtune --data area/web.tar --taxonomy area/two.tsv
echo no archive >area/no.tar
bad 1 "area/no.tar" train $dtune --data area/no.tar
fresh
broken=$(ls -d area/d/A/mono/*.png | sed -n 1p)
dd if="$broken" of=cut bs=60 count=1 2>/dev/null && mv cut "$broken"
checks=$((checks + 1))
"$program" inspect area/d --pictures >stdout 2>stderr # each broken one in a warning, then their number
[ $? = 1 ] || fail "inspect takes a broken picture" "$(cat stdout)"
says stderr "warning: skipped: .*$(basename "$broken")"
says stderr '^finediffusion: inspect: area/d: 1 of '
# what was done before it stays, and the way on that is named works
checks=$((checks + 1))
"$program" train $dtune --steps 40 --batch 16 --quiet --out area/stopped 2>stderr
[ $? = 1 ] && [ "$(messages stderr)" -eq 1 ] || fail "train takes a broken picture" "$(cat stderr)"
says stderr "$(basename "$broken").*--skip-bad"
if [ -e area/stopped ]; then good train --resume area/stopped --skip-bad --steps 3; fi
rm -rf area/stopped
good train $dtune --steps 4 --batch 16 --skip-bad --out area/skipping
says stderr "$(basename "$broken")"
says stderr '1 broken picture'
rm -rf area/skipping

# ------------------------------------------------------------------ places that cannot be written
if [ "$(id -u)" != 0 ]; then
    mkdir area/locked && chmod 500 area/locked
    bad 1 "area/locked/run" train $tune --out area/locked/run
    chmod 700 area/locked
fi
bad 1 "$base" train $tune --out $base/run
# A limit on the size of files is a full disk as far as a single file goes.
limited() { (trap '' XFSZ; ulimit -f "$1" || exit 98; shift; exec "$program" "$@"); }
checks=$((checks + 1))
tree area >before
limited 8 train $tune --out area/full --quiet >stdout 2>stderr
code=$?
if [ $code != 98 ]; then
    [ $code = 1 ] || fail "exit $code instead of 1 when a file cannot be written" "$(cat stderr)"
    [ "$(messages stderr)" -eq 1 ] || fail "not one line for a full disk" "$(cat stderr)"
    says stderr 'area/full'
    [ ! -e area/full/delta.safetensors ] || fail "a delta after a failed write"
    [ ! -e area/full ] || [ -z "$(find area/full -name '*.tmp*' -o -name '.*' -type f)" ] || fail "a temporary file is left"
fi
rm -rf area/full
tree area >after
cmp -s before after || fail "a full disk changed other files"
if [ -c /dev/full ]; then
    for words in --help --version "help data" "inspect $base"; do
        checks=$((checks + 1))
        "$program" $words >/dev/full 2>stderr
        [ $? = 1 ] && [ "$(messages stderr)" -eq 1 ] || fail "$words >/dev/full" "$(cat stderr)"
    done
fi

# ------------------------------------------------------------------ help and manual
commands=$("$program" --help | sed -n '/^Commands/,/^$/s/^  \([a-z]*\)  *.*/\1/p')
# Columns are characters: the bytes of UTF-8 behind the first of each are left out.
narrow() { # narrow NAME: no line of stdout is wider than a terminal
    checks=$((checks + 1))
    wide=$(LC_ALL=C tr -d '\200-\277' <stdout | awk 'length > 80')
    [ -z "$wide" ] || fail "$1 has lines over 80 columns" "$wide"
}
good --help
narrow --help
topics=$("$program" --help | sed -n '/^Topics/,/^$/s/^  \([a-z]*\)  *.*/\1/p')
[ -n "$commands" ] && [ -n "$topics" ] || fail "no commands or topics in --help"
# "--name ARG" for each option
help_options() { "$program" "$1" --help | sed -n 's/^  \(--[a-z0-9-]*\)\( [^ ][^ ]*\)\{0,1\}.*/\1\2/p' | sort; }
man_options() {
    sed -n "/^\.SS $1\$/,/^\.S[SH]/p" "$source/man/finediffusion.1" |
        sed -n -e '/^\.B \\-\\-/!d' -e 's/^\.B //' -e 's/\\f[IP]//g' -e 's/\\&//g' -e 's/\\-/-/gp' | sort
}
for name in $commands; do
    good $name --help
    says stdout "^usage: finediffusion $name"
    says stdout "^Examples:"
    narrow "$name --help"
    help_options $name >in_help
    man_options $name >in_man
    [ $name != train ] || says in_help '^--base FILE$'
    cmp -s in_help in_man || fail "$name: man/finediffusion.1 is not what --help says; run tools/man.sh" \
        "$(diff in_help in_man)"
    good help $name
done
for name in $topics; do
    good help $name
    narrow "help $name"
    checks=$((checks + 1))
    grep -q "^\.SS $name\$" "$source/man/finediffusion.1" || fail "topic $name is not in the manual"
done
good --version
says stdout "^finediffusion $(cat "$source/VERSION")\$"

# ------------------------------------------------------------------ JSON
good train $scratch --data $data --steps=3 --val=0.2 --out area/json --json --quiet
[ ! -s stderr ] || fail "--quiet is not quiet" "$(cat stderr)"
[ "$(grep -c '^{"step":[0-9]*,"loss":.*}$' stdout)" = 3 ] || fail "not three steps" "$(cat stdout)"
[ "$(grep -c '"val_mse":' stdout)" -ge 2 ] || fail "no validation" "$(cat stdout)"
tail -n 1 stdout | grep -q '^{"done":true,"step":3,' || fail "no final line" "$(cat stdout)"
good devices --json
says stdout '"spec": "cpu"'
good devices --all
says stdout '^cpu .*'

# ------------------------------------------------------------------ the manual page
manual=${FDIT_SRCDIR:?}/man/finediffusion.1
checks=$((checks + 1))
for name in $(find "$FDIT_SRCDIR/src" "$FDIT_SRCDIR/host" -name '*.c' -exec \
    grep -hoE '(getenv|threads_of)\("[A-Z_]+"|char variable\[\] = "[A-Z_]+"' {} + | sed 's/.*"\(.*\)"/\1/' | sort -u); do
    sed -n '/^\.SH ENVIRONMENT/,/^\.SH SIGNALS/p' "$manual" | grep -qw "$name" ||
        fail "the variable $name is not in the ENVIRONMENT of the manual page"
done
if [ -f "$source/tools/man.sh" ]; then
    checks=$((checks + 1))
    sh "$source/tools/man.sh" "$program" >written
    cmp -s written "$manual" || fail "man/finediffusion.1 is not what --help says; run tools/man.sh" \
        "$(diff written "$manual" | head -n 5)"
fi

finish
