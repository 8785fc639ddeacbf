#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `serve` as a user starts it: the address, the functions under /api/ by curl, and its end.
. "${FDIT_SRCDIR:?}/tests/lib.sh"

base=$source/data/base.safetensors
"$program" serve --base "$base" --port 0 --help >help 2>&1 || fail 'serve --help'
if ! "$program" serve --base none.safetensors 2>&1 | grep -q none.safetensors; then
    checks=$((checks + 1))
    refused 'libmicrohttpd' serve --base "$base"
    echo 'serve is left out: the program was built without libmicrohttpd'
    finish
fi
refused '--base' serve
refused '--host' serve --base "$base" --listen 0.0.0.0
refused 'not~an~address' serve --base "$base" --listen localhost
refused '65535' serve --base "$base" --port 65536
if ! command -v curl >/dev/null; then
    echo 'the rest is left out: curl is not there'
    finish
fi

# begin ARGUMENT...: a server in the background; $address ends with a slash
begin() {
    rm -f told
    "$program" serve --port 0 "$@" >told 2>stderr &
    child=$!
    waited=0
    until grep -q '#' told; do
        kill -0 $child 2>/dev/null || { fail "serve $* ended" "$(cat stderr)"; finish; }
        waited=$((waited + 1))
        [ $waited -lt 600 ] || { fail "serve $* does not begin" "$(cat stderr)"; finish; }
        sleep 0.1
    done
    address=$(sed 's/#.*//' told) token=$(sed 's/.*#//' told)
}
# end: by SIGTERM, which is not a failure
end() {
    checks=$((checks + 1))
    kill -TERM $child
    wait $child
    code=$?
    child=
    [ $code = 0 ] || fail "ended by SIGTERM it says $code" "$(cat stderr)"
}
# api PATH [ARGUMENT]...: the answer is in answer, its status in $status
api() {
    path=$1
    shift
    status=$(curl -s --max-time 300 -o answer -w '%{http_code}' -H "Authorization: Bearer $token" "$@" "${address}api/$path")
}

begin --base "$base"
api info
equal 'info' "$status" 200
says answer '"classes":52'
api 'tree?node=-1&first=1&count=2'
equal 'a part of the tree' "$(cat answer)" '{"node":-1,"name":"","children":52,"classes":52,"above":[],"total":52,"first":1,"nodes":[{"node":1,"name":"B"},{"node":2,"name":"C"}]}'
api 'search?q=%231'
says answer '"total":1,.*"node":1,"name":"B"'
api 'tree?node=52'
equal 'a node that is not there' "$status" 404
api 'tree?node=../../etc/passwd'
equal 'a node that is not a number' "$status" 400
api 'tree?count=1001'
equal 'too many nodes' "$status" 400
api search
equal 'nothing to look for' "$status" 400
says answer '?q='
api nothing
equal 'a function that is not there' "$status" 404
api info -X POST -H 'Content-Type: application/json' -d '{}'
equal 'a function asked for in another way' "$status" 405

# All files of the page, and none from elsewhere: what index.html and the modules name is there.
curl -s "$address" >page
same 'the page' page "$source/src/serve/page/index.html"
for file in "$source"/src/serve/page/*; do
    name=$(basename "$file")
    [ "$name" != index.html ] || continue
    curl -s "$address$name" >file
    same "$name" file "$file"
    checks=$((checks + 1))
    if grep -nE "(https?:)?//[a-z]|@import|innerHTML|eval\(" "$file" | grep -vE '^[0-9]+: *//|w3.org/2000/svg'; then
        fail "$name names another host, or makes code of text"
    fi
done
token=wrong
api info
equal 'another token' "$status" 401
end
finish
