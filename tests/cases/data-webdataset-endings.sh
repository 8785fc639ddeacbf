# SPDX-License-Identifier: Apache-2.0
# .CLS is .cls; a .cls with the name of a class instead of its id is told for what it is.
needs tar
mkdir w
for i in 0 1; do
    cp "$IN/data/owls/a/$i.png" w/$i.PNG
    printf $i >w/$i.CLS
    printf '{"class":"owl%s","id":%s}' $i $i >w/$i.JSON
done
tar cf capitals.tar -C w 0.PNG 0.CLS 1.PNG 1.CLS
ends 0 "$FD" inspect capitals.tar --classes
prints '^0.1$' '^1.1$'
silent 'left out'
tar cf named.tar -C w 0.PNG 0.CLS 0.JSON 1.PNG 1.CLS 1.JSON
ends 0 "$FD" inspect named.tar --classes
prints '^owl0.1$' '^owl1.1$'
printf 'tawny owl\n' >w/1.CLS
tar cf text.tar -C w 0.PNG 0.CLS 1.PNG 1.CLS
ends 1 "$FD" inspect text.tar
says 'text.tar:1.CLS: a class id, .* is needed in a .cls member, which holds the text "tawny owl" here'
printf '1.5\n' >w/1.CLS
tar cf fraction.tar -C w 0.PNG 0.CLS 1.PNG 1.CLS
ends 1 "$FD" inspect fraction.tar
says 'fraction.tar:1.CLS: a class id, digits'
