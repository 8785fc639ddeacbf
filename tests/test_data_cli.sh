#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Data sets as people have them, through the program: odd names, broken and missing pictures, wrong
# taxonomies, archives. Each refusal is one line that names the thing, and leaves nothing behind.
. "${FDIT_SRCDIR:?}/tests/lib.sh"
pictures=$source/tests/corpus/picture

# bad WORDS COMMAND ARGUMENT...: exit 1 or 2; the last line on stderr is "finediffusion: COMMAND: " with
# WORDS in it, those before are warnings; nothing on stdout (but what inspect reports), no folder "new".
bad() {
    words=$1
    shift
    checks=$((checks + 1))
    "$program" "$@" >stdout 2>stderr
    got=$?
    [ $got = 1 ] || [ $got = 2 ] || fail "exit $got: $*" "$(cat stderr)"
    case $(tail -n 1 stderr) in
    "finediffusion: $1: "*"$words"*) ;;
    *) fail "no '$words' in the message of: $*" "$(cat stderr)" ;;
    esac
    [ "$(grep -vc ": warning: " stderr)" = 1 ] || fail "more than one line: $*" "$(cat stderr)"
    [ "$1" = inspect ] || [ ! -s stdout ] || fail "output: $*" "$(cat stdout)"
    [ ! -e new ] || fail "left behind: $*" "$(ls -R new)"
}
says() { # says FILE TEXT
    checks=$((checks + 1))
    grep -qFe "$2" "$1" || fail "no '$2' in $1:" "$(cat "$1")"
}
fresh() { # fresh NAME: a copy of the good set
    chmod -R u+rwx "$1" 2>/dev/null
    rm -rf "$1"
    cp -R data "$1"
}
train="--from-scratch --tune full --model 16,1,1,4 --size 8 --channels 3 --preview-every 0 --batch 4
    --steps 2 --label-drop empty --quiet"

# ------------------------------------------------------------------ odd, and good
newline='
'
mkdir -p 'data/Tawny Owl' data/鳥 data/-dash 'data/a,b=c'
cp "$pictures/rgb.png" 'data/Tawny Owl/IMG 1.PNG'
cp "$pictures/rgb.png" 'data/Tawny Owl/really a png.JPG'
cp "$pictures/interlaced.png" 'data/Tawny Owl/no extension'
cp "$pictures/grey16.png" data/鳥/ü.png
cp "$pictures/palette.png" "data/鳥/quote'\".png"
cp "$pictures/rgba.png" data/-dash/--skip-bad.png
cp "$pictures/bits.png" "data/-dash/new${newline}line.png"
cp "$pictures/grey_alpha.png" 'data/a,b=c/%41.png'
good inspect data --pictures --json
says stdout '"pictures": 8'
says stdout '"classes": 4'
says stdout '"pictures_decoded": 8'
good train $train --data data --out run
for c in '#0' -dash 'Tawny Owl' 'a,b=c' 鳥 'Tawny Owl,a,b=c'; do
    good sample --base run/delta.safetensors --classes "$c" --guide none --sampler ddim --steps 2 \
        --out pictures --overwrite --quiet
done
[ -f 'pictures/a,b=c/a,b=c-0.png' ] && [ -f pictures/鳥/鳥-0.png ] ||
    fail "names of pictures" "$(find pictures)"
tar cf data.tar data
tar czf data.tgz -C data .
for d in data.tar data.tgz; do
    good inspect $d --pictures --json
    says stdout '"pictures_decoded": 8'
done
cp "$pictures/rgb.jpg" data/鳥/1.jpeg
cp "$pictures/lossy.webp" data/鳥/2.webp
if "$program" inspect data --pictures >stdout 2>stderr; then
    good train $train --data data --out run2 --fit pad
    says run2/config.json '"fit"'
else
    says stderr 'built without' # JPEG or WebP
    rm data/鳥/1.jpeg data/鳥/2.webp
fi

# ------------------------------------------------------------------ broken pictures
fresh broken
head -c 100 "$pictures/rgb.png" >"broken/鳥/cut${newline}off.png"
: >broken/鳥/empty.jpg
cp "$pictures/other.gif" broken/-dash/gif.png
cp "$pictures/huge.png" broken/-dash/huge.png
bad '4 of ' inspect broken --pictures
says stderr 'cut\noff.png: the PNG picture of 100 bytes is cut off'
says stderr 'empty.jpg: the picture is empty'
says stderr 'gif.png: is GIF, pictures must be PNG, JPEG or WebP; convert it'
says stderr 'are more than 2^28 pixels; make the picture smaller'
rm -rf new
checks=$((checks + 1))
"$program" train $train --data broken --out new --epochs 1 >stdout 2>stderr && fail "broken pictures are taken"
"$program" train $train --data broken --out new --steps 8 >stdout 2>stderr && fail "broken pictures are taken"
says stderr 'finediffusion: train: broken/'
rm -rf new
"$program" train ${train%--quiet} --data broken --out new --steps 8 --skip-bad >stdout 2>stderr ||
    fail "--skip-bad" "$(cat stderr)"
says stderr '4 broken pictures were left out'
says stderr 'skipped: broken/-dash/gif.png'
rm -rf new

# ------------------------------------------------------------------ folders
fresh folders
mkdir folders/empty
bad '1 class folder without a picture: "empty"; fill or remove it' train $train --data folders --out new
rm -rf folders/empty
mkdir folders/鳥/sub
cp "$pictures/rgb.png" folders/鳥/sub
bad '1 folder with pictures beside class folders' inspect folders
rm -rf folders/鳥/sub
if [ "$(id -u)" != 0 ]; then
    chmod 0 folders/鳥
    bad 'folders/鳥: cannot be read: Permission denied' inspect folders
    chmod 755 folders/鳥
    chmod 0 folders/鳥/ü.png
    bad 'folders/鳥/ü.png: cannot open the file: Permission denied' inspect folders --pictures
    chmod 644 folders/鳥/ü.png
fi
ln -s .. folders/鳥/up
bad 'a link to a folder above it' inspect folders
rm folders/鳥/up
mkdir flat nothing
cp "$pictures/rgb.png" flat
bad 'no class folder ("rgb.png"); put the pictures of each class into a folder of its own' inspect flat
bad 'nothing: no picture in it' train $train --data nothing --out new
bad 'missing: no such file or folder' train $train --data missing --out new
bad 'use a smaller batch' train $train --data data --batch 64 --out new
bad 'use a smaller batch' train $train --data data --accumulate 64 --out new
bad 'nothing: no picture in it' train $train --data data --val nothing --out new

# ------------------------------------------------------------------ taxonomies
printf 'class\tfamily\n鳥\tx\nTawny Owl\towls\n-dash\tx\na,b=c\tx\n' >four.tsv
good inspect data --taxonomy four.tsv --json
says stdout '"groups": 2'
head -n 4 four.tsv >three.tsv
bad '1 class folder is not in the taxonomy: "a,b=c"' train $train --data data --taxonomy three.tsv --out new
printf 'extra\tx\n' | cat four.tsv - >five.tsv
bad '1 of 5 classes of the taxonomy have no picture: "extra"' train $train --data data --taxonomy five.tsv \
    --out new
sed 's/-dash	x/-dash	/' four.tsv >hole.tsv
bad '1 missing: class (rank) "-dash" (family)' train $train --data data --taxonomy hole.tsv --out new
printf 'class\tfamily\na\tx\na\ty\n' >twice.tsv
bad 'class "a" is there twice' inspect data --taxonomy twice.tsv
printf '{"categories":[{"id":1,"name":"x"}]}' >range.json
bad 'out of range' inspect data --taxonomy range.json
bad 'no rank "genus"' train $train --data data --taxonomy four.tsv --ranks genus --out new
bad 'no class "owl"' sample --base run/delta.safetensors --classes owl --out new
bad 'class id 4 is out of range' sample --base run/delta.safetensors --classes '#4' --out new

# ------------------------------------------------------------------ archives
for name in outside no_end; do
    cp "$source/tests/corpus/tar/$name.tar" .
done
bad 'outside of the archive' inspect outside.tar
good inspect no_end.tar --quick
says stderr 'no_end.tar: the archive has no end mark'
head -c 3000 data.tar >cut.tar
bad 'cut' inspect cut.tar
head -c 500 data.tgz >cut.tgz
bad 'cut' inspect cut.tgz
echo 'no archive' >text.tar
bad 'text.tar' inspect text.tar
mkdir web
cp "$pictures/rgb.png" web/0.png
printf 7 >web/0.cls
(cd web && tar cf ../web.tar 0.png 0.cls)
good inspect web.tar
says stdout 'classes      8'
bad 'class id 7, but the taxonomy has 4 classes' train $train --data web.tar --taxonomy four.tsv --out new
printf seven >web/0.cls
(cd web && tar cf ../web.tar 0.png 0.cls)
bad 'a class id, digits from 0' inspect web.tar
(cd web && cp 0.png 1.png && printf 1 >0.cls && tar cf ../web.tar 0.png 0.cls 1.png)
bad 'no 1.cls beside it' inspect web.tar

finish
