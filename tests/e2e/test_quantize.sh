# convert --quantize: smaller weights that nearly say the same, run everywhere, train nowhere.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config >tiny.yaml
some_text 40 >text.txt
ok train --config tiny.yaml --data text.txt --threads 1 --steps 20 --out m --quiet
ok eval --model m --data text.txt --json
first=$(field nats_per_token)
size=$(wc -c <m/model.safetensors)

# ---- sizes, loss, and that everything runs
for format in int8 int4; do
    ok convert --from m --out $format --quantize $format
    same m/tokenizer.json $format/tokenizer.json "the tokenizer"
    absent $format/training.json "the state of a training"
    [ "$(wc -c <$format/model.safetensors)" -lt $((size / 2)) ] || die "$format is not half of fp32"
    ok eval --model $format --data text.txt --json
    awk -v a="$(field nats_per_token)" -v b="$first" 'BEGIN { d = a / b - 1; exit !(d < .03 && d > -.03) }' ||
        die "$format gives $(field nats_per_token) nats, fp32 $first"
    last=$(field nats_per_token)
    ok eval --model $format --data text.txt --json
    is "$(field nats_per_token)" "$last" "eval of $format twice"
    ok generate --model $format --prompt "one" --max-tokens 8
    ok inspect $format
    for backend in ref cpu:generic; do
        ok eval --model $format --data text.txt --json --backend $backend
        awk -v a="$(field nats_per_token)" -v b="$last" 'BEGIN { d = a - b; exit !(d < .01 && d > -.01) }' ||
            die "$format on $backend gives $(field nats_per_token) nats, on cpu $last"
    done
done
[ "$(wc -c <int4/model.safetensors)" -lt "$(wc -c <int8/model.safetensors)" ] || die "int4 is no smaller"
ok convert --from m --out again --quantize int4 --quiet
is "$said" "" "stderr of a quiet convert"
same int4/model.safetensors again/model.safetensors "int4 twice"
sed 's/d_ff: [0-9]*/d_ff: 40/' tiny.yaml >odd.yaml
ok init --config odd.yaml --out odd --seed 1
ok convert --from odd --out odd4 --quantize int4
case $said in *"stay fp32: the length of their rows is no multiple of 32"*) ;; *) die "convert does not say what it left: $said" ;; esac
ok plan int4 --dtype int4
ok init --config tiny.yaml --out half --seed 3 --dtype bf16
ok convert --from half --out fromhalf --quantize int8

# ---- what is refused
fails 1 "already holds a model" convert --from m --out int4 --quantize int4
fails 2 "wanted int8 or int4" convert --from m --out x --quantize int3
fails 1 "int8 already" convert --from int8 --out x --quantize int4
sed 's/SE A WP F/2x(S)/' tiny.yaml >mamba.yaml
ok init --config mamba.yaml --out mamba --seed 1
ok convert --from mamba --out mamba4 --quantize int4
grep -q '"train"' mamba4/config.json || die "the training's settings are lost"
ok convert --from mamba --out theirs --to-hf
ok convert --from theirs --out ours
ok convert --from ours --out ours8 --quantize int8
grep -q '"train"' ours/config.json ours8/config.json && die "a training that nobody asked for"
fails 1 "weights are int4" convert --from mamba4 --out x --to-hf
fails 2 "both given" convert --from m --out x --to-hf --quantize int4
fails 1 "nowhere" convert --from nowhere --out x --quantize int4
absent x "a refused conversion"
fails 1 "cannot be resumed" train --config tiny.yaml --data text.txt --out int8 --resume --steps 30 --quiet
cp m/training.json m/training.safetensors int8/
echo "{$(grep -oE '"tokenizer.json": *"[^"]*"' m/checksums.json)}" >int8/checksums.json
fails 1 "int8, which run as they are and cannot train" \
    train --config tiny.yaml --data text.txt --threads 1 --out int8 --resume --steps 30 --quiet

# ---- damaged directories
cp -r int4 b
broken() { # broken TEXT: after damage to b, all that open it say TEXT
    fails 1 "$1" inspect b
    fails 1 "$1" eval --model b --data text.txt
    rm -rf b
    cp -r int4 b
}
truncate -s -1 b/model.safetensors
broken "model.safetensors"
sed -i 's/"int4"/"int3"/' b/config.json
broken "int3"
sed -i 's/"quant_method": "hydralm"/"quant_method": "gptq"/' b/config.json
broken "gptq"
sed -i 's/"group_size": 32/"group_size": 64/' b/config.json
broken "groups of 64"
sed -i 's/"quantization_config"/"quantisation_config"/' b/config.json
broken "holds U8"
sed -i 's/"int4"/"int8"/' b/config.json
broken "bytes of quantised rows"
cp m/model.safetensors b/
broken "wanted U8"
exit 0
