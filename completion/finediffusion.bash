# SPDX-License-Identifier: Apache-2.0
# Completion of finediffusion for bash (4.2 and later): installed where bash-completion finds it; without that, source
# this file. What is offered comes from the program that is typed, so it fits that version.

_finediffusion() {
    local cur words cword line kind candidate strip=
    if declare -F _comp_get_words >/dev/null; then
        _comp_get_words -n =: cur words cword
    elif declare -F _get_comp_words_by_ref >/dev/null; then
        _get_comp_words_by_ref -n =: cur words cword
    else
        words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]}
    fi
    # what is typed, without its quoting
    local i typed=()
    for ((i = 1; i <= cword; i++)); do
        line=${words[i]}
        case $line in \'* | \"*) line=${line:1} line=${line%[\'\"]} ;; *) line=${line//\\/} ;; esac
        typed+=("${line/#\~\//$HOME/}")
    done
    # readline replaces what follows the last = or : only
    case $cur in *[=:]*) strip=${cur%"${cur##*[=:]}"} ;; esac
    COMPREPLY=()
    kind=words
    {
        IFS= read -r kind
        while IFS= read -r line; do
            candidate=${line%%$'\t'*}
            case $candidate in *[:=,]) compopt -o nospace ;; esac
            candidate=${candidate#"$strip"}
            case $cur in \'* | \"*) ;; *) printf -v candidate %q "$candidate"; candidate=${candidate//\\,/,} ;; esac
            COMPREPLY+=("$candidate")
        done
    } < <("${words[0]/#\~\//$HOME/}" --complete "${typed[@]}" 2>/dev/null)
    cur=${cur#"$strip"}
    case $kind in
    files) compopt -o filenames; while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$cur") ;;
    folders) compopt -o filenames; while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -d -- "$cur") ;;
    esac
}
complete -F _finediffusion finediffusion
