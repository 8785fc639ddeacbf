# SPDX-License-Identifier: Apache-2.0
# A file given with --config that is not the options of a run is called what it is, with one remedy that fits.
given() { # FILE WORDS
    ends 1 "$FD" train --config "$1" --data "$IN/data" --out r --quiet
    one_line
    says "$2"
    holds sh -c "[ \$(grep -o ';' err | wc -l) -eq 1 ]"
    absent r
}
needed='; the config.json of a run is needed, or a file like it$'
: >empty && given empty "train: empty: is empty$needed"
echo 'lr = 0.1' >toml && given toml "train: toml: is not the options of a run \(JSON\)$needed"
printf -- '---\nlr: 0.1\n' >yaml && given yaml "is not the options of a run \(JSON\)$needed"
echo '[{"lr":0.1}]' >list && given list "is not the options of a run \(JSON\)$needed"
given "$IN/data/gulls/a/$(ls "$IN/data/gulls/a" | head -n 1)" 'picture, not the options of a run \(JSON\); give a text file$'
given "$FD" 'a program or library, not the options of a run \(JSON\); give a text file$'
echo '{"lr":0.1,}' >comma && given comma 'line 1, column 11: .*; correct it, or copy it from a run with the same options$'
printf '{"lr":0.1' >half && given half 'it ends too early; correct it, or copy it from a run with the same options$'
echo '{"lr":"fast"}' >word && given word '"lr" cannot be "fast"; correct it$'
# begun as an editor of Windows does
printf '\357\273\277{"lr":0.001,\r\n"steps":1}\r\n' >bom
ends 0 small_run --config bom --data "$IN/data" --out r
holds grep -q '"lr":0.001,' r/config.json
