#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What Tab offers: the program's answers, and the scripts of each shell that is installed.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

# answer WANTED WORD...: kind and candidates, blanks between, as `--complete WORD...` gives them
answer() {
    wanted=$1
    shift
    good --complete "$@"
    equal "--complete $*" "$(cut -f 1 stdout | paste -s -d ' ' -)" "$wanted"
}

# ------------------------------------------------------------------ the program
letters=$source/data/letters/taxonomy.tsv
answer 'words demo devices' de
answer 'words taxonomy' help ta
answer 'words --guidance --guidance-channels --guidance-interval --guidance-rule' sample --guidance
answer 'words f32 bf16x3 bf16 f16 int8 auto' train --precision ''
answer 'words --precision=f16' train --precision=f1
answer 'words horizontal' train --flip h
answer 'files' train --data ''
answer 'folders' sample --out ''
answer 'files' inspect ''
answer 'words' devices ''
answer 'words cpu gpu opencl: ref' demo --device ''
answer 'words superclass:letter superclass:style' sample --taxonomy "$letters" --guide superclass:
answer 'words A/serif A/serif bold A/serif italic' sample --taxonomy "$letters" --classes A/se
answer 'files' nonsense ''
answer 'words' train --nonsense
# a list goes on behind its comma; a rank, then its groups
answer 'words all,B/hand' sample "--taxonomy=$letters" --classes all,B/h
answer 'words letter=' sample --taxonomy "$letters" --classes let
answer 'words letter=A,letter=B' sample --taxonomy "$letters" --classes letter=A,letter=B
# the classes that a file carries, and nothing, without a message, of a file that carries none
cp "$source/data/base.safetensors" whole.safetensors
answer 'words A' sample --base whole.safetensors --classes A
echo text >text.safetensors
answer 'words' sample --delta text.safetensors --classes A/h
equal 'messages about an unreadable delta' "$(cat stderr)" ''
# every option of every command is offered, with a meaning
for command in $("$program" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p'); do
    good "$command" --help
    sed -n 's/^  --\([a-z0-9-]*\).*/--\1/p' stdout | sort >wanted
    good --complete "$command" --
    sed 1d stdout | cut -f 1 | sort >seen
    same "options of $command" seen wanted
    equal "options of $command without a meaning" "$(sed 1d stdout | grep -c "$(printf '\t')\$")" 0
done
# a name that would move the cursor is not offered
printf 'class\tgroup\nplain\tg\nodd\033[2Jname\tg\n' >odd.tsv
answer 'words all plain group=' sample --taxonomy odd.tsv --classes ''

# ------------------------------------------------------------------ the shells
mkdir bin
ln -s "$program" bin/finediffusion
PATH=$work/bin:$PATH
# in_shell NAME WANTED GOT
in_shell() {
    equal "$1" "$(printf '%s\n' "$3" | sed 's/\t.*//; s/ *$//' | sort | paste -s -d ' ' -)" "$2"
}
if command -v bash >/dev/null; then
    # tab CURSOR WORD...: what bash puts into COMPREPLY with the cursor in word CURSOR
    cat >tab.bash <<'END'
compopt() { :; }
. "$1/completion/finediffusion.bash"
COMP_CWORD=$2
shift 2
COMP_WORDS=("$@")
_finediffusion
printf '%s\n' "${COMPREPLY[@]}"
END
    tab() { bash tab.bash "$source" "$@"; }
    in_shell 'bash: commands' 'demo devices' "$(tab 1 finediffusion de)"
    in_shell 'bash: a value' 'f16' "$(tab 3 finediffusion train --precision f1)"
    in_shell 'bash: a class with a blank' 'A/serif A/serif\ bold A/serif\ italic' \
        "$(tab 5 finediffusion sample --taxonomy "$letters" --classes A/se)"
    in_shell 'bash: the rest behind a colon' 'letter' "$(tab 5 finediffusion sample --taxonomy "$letters" --guide superclass:l)"
    in_shell 'bash: a file' 'whole.safetensors' "$(tab 3 finediffusion sample --delta whole)"
    in_shell 'bash: a folder' 'bin' "$(tab 3 finediffusion sample --out b)"
fi
if command -v zsh >/dev/null; then
    checks=$((checks + 1))
    zsh -n "$source/completion/_finediffusion" || fail 'zsh does not read its script'
fi
if command -v fish >/dev/null; then
    tab() { HOME=$work fish -c "source $source/completion/finediffusion.fish; complete -C '$1'"; }
    in_shell 'fish: commands' 'demo devices' "$(tab 'finediffusion de')"
    in_shell 'fish: a value' 'f16' "$(tab 'finediffusion train --precision f1')"
    in_shell 'fish: guides' 'superclass:letter superclass:style' \
        "$(tab "finediffusion sample --taxonomy $letters --guide superclass:")"
    in_shell 'fish: a file' 'whole.safetensors' "$(tab 'finediffusion sample --delta whole')"
fi
finish
