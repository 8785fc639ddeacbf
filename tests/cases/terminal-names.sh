# Names out of files that would move the cursor, colour, retitle or reorder the terminal: shown as escapes in
# tables, notes and messages, exact in JSON.
esc=$(printf '\033') csi=$(printf '\302\233') rlo=$(printf '\342\200\256')
gzip -dc "$FDIT_SRCDIR/data/letters-test.tar.gz" | tar xf - A/mono B/mono
mkdir -p "d/g${esc}[31mred/one${csi}2J" "d/plain/two${rlo}gnp" 
mv A/mono/* "d/g${esc}[31mred/one${csi}2J/"
mv B/mono/* "d/plain/two${rlo}gnp/"
clean() { silent "$esc" "$csi" "$rlo"; }
ends 0 "$FD" inspect d
clean
ends 0 "$FD" inspect d --classes
clean
prints '\\x1b\[31mred' '\\u\{009b\}2J' '\\u\{202e\}gnp'
cp out classes.tsv
ends 0 "$FD" inspect d --taxonomy classes.tsv --classes
holds cmp out classes.tsv
cut -f 1,2 out >classes.tsv # a run knows no numbers of pictures
cp "d/plain/two${rlo}gnp/$(ls "d/plain/two${rlo}gnp" | head -n 1)" "d/plain/two${rlo}gnp/zz${esc}[2J.png"
ends 0 "$FD" inspect d --pictures --json
prints "^   \"d/plain/two${rlo}gnp/zz.u001[Bb].2J[.]png\",\$" \
    "^  \"picture\": \"d/g.u001[Bb].31mred/one${csi}2J/[^/]*png\"\$"
silent "$esc"
ends 0 "$FD" inspect d --pictures
clean
prints '/zz.x1b.2J[.]png = d/'
small="train --from-scratch --tune full --model 32,1,2,8 --size 24 --channels 1 --data d --batch 2
    --preview-every 0 --device cpu --threads 1"
ends 0 "$FD" $small --steps 2 --out "r${esc}]0;title" --verbose
clean
ends 0 "$FD" inspect "r${esc}]0;title"
clean
ends 0 "$FD" inspect "r${esc}]0;title" --classes
clean
holds cmp out classes.tsv
ends 2 "$FD" sample --device cpu --base "r${esc}]0;title/delta.safetensors" --classes "x${esc}[2J" --out p
clean
one_line
ends 1 "$FD" train --base "none${esc}[2J" --data d --steps 1 --out q
clean
ends 1 "$FD" inspect "none${esc}[2J"
clean
one_line
# a broken picture's name in a warning, a newline in a name
echo broken >"d/plain/two${rlo}gnp/z${esc}[2J
finediffusion: all is well.png"
ends 0 "$FD" $small --steps 2 --skip-bad --out q
clean
holds sh -c '! grep -q "^finediffusion: all is well" err'
