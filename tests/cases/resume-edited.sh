# SPDX-License-Identifier: Apache-2.0
# A config.json that was edited is compared with what the checkpoint was written with: what decides the result may not
# change so either, and the message says what was and what is.
needs sed
cp -R "$IN/data" d
ends 0 small_run --data d --steps 5 --val 0.3 --out begun
edited() { # WORDS SED...: the run with its config.json changed
    words=$1
    rm -rf r
    cp -R begun r
    sed "$2" begun/config.json >r/config.json
    holds sh -c '! cmp -s begun/config.json r/config.json'
    rm -rf before && cp -R r before
    "$FD" train --resume r --steps 10 --quiet >out 2>err </dev/null
    got=$?
    last="--resume with $2"
    holds test $got -ne 0
    one_line
    says "$words"
    holds diff -r before r
}
c='r/checkpoints/step-5.safetensors: was written with'
edited "$c --lr 0.0001, and r/config.json says 0.5 now; put the old value back" 's/"lr":0.0001/"lr":0.5/'
edited "$c --seed 0, and r/config.json says 7 now" 's/"seed":0/"seed":7/'
edited "$c --val \"0.3\", and r/config.json says \"0.5\" now" 's/"val":"0.3"/"val":"0.5"/'
edited "$c --val \"0.3\", and r/config.json says \"0.5\" now" 's/"val":"0.3"/"val":"0.5"/g'
edited "$c --val \"0.3\", and r/config.json says null now" 's/"val":"0.3"/"val":null/'
edited "$c --clip 0.0, and r/config.json says 3(.0)? now" 's/"clip":0.0/"clip":3/'
edited "$c --model \"32,1,2,4\", and r/config.json says \"64,1,2,4\"" 's/"model":"32,1,2,4"/"model":"64,1,2,4"/'
edited "$c --batch 4, and r/config.json says 8" 's/"batch":4/"batch":8/'
edited "$c --flip \"horizontal\", and r/config.json says \"none\"" 's/"flip":"horizontal"/"flip":"none"/'
m='--resume: r/config.json: "[a-z_]*" of "model" is'
edited "$m 64, and 32 in the run; put the old value back" 's/"hidden_size":32/"hidden_size":64/'
edited "$m 7, and 6 in the run" 's/"table_rows":6/"table_rows":7/'
edited "$m \"classifier\", and \"dit\" in the run" 's/"kind":"dit"/"kind":"classifier"/'
edited "$m \"4\", and 4 in the run" 's/"patch_size":4/"patch_size":"4"/'
edited 'r/config.json: "model" must be an object' 's/"model":{[^}]*}/"model":[1]/'
for step in 2 6 7 1000000; do
    edited "r/log.jsonl: begins with step 1, and \"log-from\" of r/config.json says $step; put the old value back" \
        's/"checkpoints":true/&,"log-from":'$step/
done
edited 'r/config.json: "log-from" must be a whole number' 's/"checkpoints":true/&,"log-from":0/'
edited 'r/config.json: "format" is "x", and "finediffusion-run" in' 's/finediffusion-run/x/'
edited 'r/config.json: ' 's/"classes":\["gulls\/a",/"classes":[/'
edited 'r/config.json does not say the pictures' 's/"pictures":16,"classes"/"pictures":16,"klasses"/'
# what does not decide it may change, and the number may be written in another way
rm -rf r && cp -R begun r
sed 's/"keep":3/"keep":1/; s/"workers":2/"workers":1/; s/"clip":0.0/"clip":0/' begun/config.json >r/config.json
ends 0 "$FD" train --resume r --steps 10 --quiet --val 0.30
ends 0 small_run --data d --steps 10 --val 0.3 --out whole
holds cmp whole/delta.safetensors r/delta.safetensors
