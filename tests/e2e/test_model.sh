# init, inspect, eval, logits: a model directory from a configuration, and what can be asked of it.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config >tiny.yaml
some_text 40 >text.txt

ok init --config tiny.yaml --out m --seed 3 --json
[ "$(field parameters)" -gt 10000 ] || die "init reports $(field parameters) parameters"
parameters=$(field parameters)
ok init --config tiny.yaml --out again --seed 3
same m/model.safetensors again/model.safetensors "same seed"
grep -q '"dt_max": 0.1,' m/config.json || die "config.json does not say 0.1: $(grep dt_max m/config.json)"
ok init --config tiny.yaml --out other --seed 4
differ m/model.safetensors other/model.safetensors "another seed"
fails 1 "already holds a model" init --config tiny.yaml --out m --seed 3
ok init --config tiny.yaml --out other --seed 3 --force
same m/model.safetensors other/model.safetensors "--force"
fails 2 "wanted fp32, bf16, int8 or int4" init --config tiny.yaml --out x --seed 1 --dtype fp8
absent x "a refused dtype"

ok inspect m
for text in "SE A WP F" "│ S │" "state space" "product-key memory" "d_model: 32"; do
    [[ $out == *"$text"* ]] || die "inspect does not show \"$text\""
done
[[ $out == *" seed: 3 "* ]] || die "inspect does not show the seed of the weights"
ok inspect m --json
is "$(field letters)" '"SEAWPF"' "letters"
is "$(field parameters)" "$parameters" "parameters of inspect"

ok eval --model m --data text.txt --json
is "$(field tokens)" $(($(wc -c <text.txt) - 1)) "tokens of eval"
# an untrained model knows nothing: log 256 = 5.545 nats
awk -v x="$(field nats_per_token)" 'BEGIN { exit !(x > 5.3 && x < 5.8) }' ||
    die "an untrained model has $(field nats_per_token) nats per token"
first=$(field nats_per_token)
ok eval --model m --data text.txt --json
is "$(field nats_per_token)" "$first" "eval twice"
# It reads what a training reads.
gzip -k text.txt
ok eval --model m --data text.txt.gz --json
is "$(field nats_per_token)" "$first" "eval of a compressed text"
printf '{"text": "a line"}\n{"text": "of its own"}\n' >lines.jsonl
ok eval --model m --data lines.jsonl text.txt --data text.txt.gz --json
is "$(field documents)" 4 "documents of eval"
is "$(field tokens)" $((5 + 9 + 2 * ($(wc -c <text.txt) - 1))) "tokens of all that eval read"
ok data build text.txt --tokenizer bytes --out built --quiet
fails 1 "built holds built data, wanted text" eval --model m --data built

# Weights in bf16 are half as many bytes and nearly the same model.
ok init --config tiny.yaml --out half --seed 3 --dtype bf16
[ "$(wc -c <half/model.safetensors)" -lt "$(wc -c <m/model.safetensors)" ] || die "bf16 is no smaller"
ok eval --model half --data text.txt --json
awk -v a="$(field nats_per_token)" -v b="$first" 'BEGIN { d = a - b; exit !(d < .01 && d > -.01) }' ||
    die "bf16 weights give $(field nats_per_token) nats, fp32 $first"

# To Hugging Face's Mamba-2 and back.
sed 's/SE A WP F/2x(S)/; s/d_state: 16/d_state: 16, dt_min: 0.002/' tiny.yaml >mamba.yaml
ok init --config mamba.yaml --out mamba --seed 1
ok convert --from mamba --out hf --to-hf
grep -q Mamba2ForCausalLM hf/config.json || die "hf/config.json names no Mamba2ForCausalLM"
ok convert --from hf --out back
ok inspect back
[[ $out == *"dt_min: 0.002"* ]] || die "the time step of initial weights did not come back"
ok eval --model mamba --data text.txt --json
first=$(field nats_per_token)
ok eval --model back --data text.txt --json
awk -v a="$(field nats_per_token)" -v b="$first" 'BEGIN { d = a - b; exit !(d < 1e-5 && d > -1e-5) }' ||
    die "the model that came back has $(field nats_per_token) nats per token, before $first"
fails 1 "already holds a model" convert --from hf --out back
sed -i 's/"chunk_size": *[0-9]*/"chunk_size": 40/' hf/config.json
ok convert --from hf --out chunked
case $said in *"chunk_size 40 became chunk 32"*) ;; *) die "convert did not say its note: $said" ;; esac
ok convert --from hf --out chunked --force --quiet
is "$said" "" "stderr of a quiet convert"
ok convert --from hf --out chunked --force --json
case $out in *"chunk_size 40 became chunk 32"*) ;; *) die "convert --json has no note: $out" ;; esac
fails 1 "layer 1 is 'E'" convert --from m --out refused --to-hf
absent refused "a model of other letters"
fails 1 "hydralm convert" inspect hf

# What replaces a model leaves nothing of it that belonged to the old weights.
mkdir mute && cp mamba/config.json mamba/model.safetensors mute
cp -r mamba over && echo '{"eos_token": "a", "added_tokens_decoder": {}}' >over/tokenizer_config.json
ok convert --from mute --out over --to-hf --force
for name in tokenizer.json tokenizer_config.json; do
    absent over/$name "a model without it was written over this one"
done

# A training is replaced by no other model, whatever is left of it.
cp -r mamba trained && ls -a trained >names
refused() { # refused SIGN: what shows that a training is in `trained`
    fails 1 "trained holds a training ($1)" init --config tiny.yaml --out trained --force
    fails 1 "trained holds a training ($1)" convert --from mamba --out trained --to-hf --force
    fails 1 "trained holds a training ($1)" tokenizer train text.txt --out trained --force
    rm -r "trained/$1"
    same trained/model.safetensors mamba/model.safetensors "a training"
    is "$(ls -a trained)" "$(cat names)" "what a refused command leaves"
}
for name in metrics.jsonl training.json training.safetensors checksums.json; do
    : >trained/$name
    refused $name
done
mkdir -p trained/checkpoints/step-3
refused checkpoints

# A tokenizer of more tokens than the model knows leaves a model without text.
ok tokenizer train mamba/config.json --vocab 300 --special '<|a|>' '<|b|>' --out large
cp -r mamba small && cp large/tokenizer.json small
fails 1 "more than model.vocab" eval --model small --data mamba/config.json
fails 1 "more than model.vocab" generate --model small --prompt a --max-tokens 1

# A path need not be UTF-8.
odd=$(printf 'a\xff')
ok init --config tiny.yaml --out "$odd" --json
is "$(field out)" '"a?"' "the name of a folder in JSON"

# Logits: 90 tokens, uint8; the state after any piece goes on as if nothing had been cut.
npy() { # npy DTYPE N FILE: the header; the data follow from stdin
    local header
    header=$(printf "{'descr': '%s', 'fortran_order': False, 'shape': (%d,), }" "$1" "$2")
    printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "$header" >"$3"
    cat >>"$3"
}
head -c 90 text.txt | npy '|u1' 90 tokens.npy
ok logits --model m --tokens tokens.npy --out whole.npy --backend ref --json
is "$(field tokens)" 90 "tokens of logits"
ok logits --model m --tokens tokens.npy --out cut.npy --backend ref --cut 1,2,17,50,89
same whole.npy cut.npy "logits --cut on the reference"
ok logits --model m --tokens tokens.npy --out fast.npy
ok logits --model m --tokens tokens.npy --out fastcut.npy --cut 1,2,17,50,89
# float32 sums in another order: 1e-4 of logits that are below 2
floats() { tail -c +$(($(wc -c <"$1") - 90 * 256 * 4 + 1)) "$1" | od -An -v -t f4 -w4; }
for other in fast fastcut; do
    paste <(floats whole.npy) <(floats $other.npy) |
        awk '{ d = $1 - $2; if (d < 0) d = -d; if (!(d < 1e-4)) { print $0; exit 1 } }' ||
        die "$other.npy is not what the reference says"
done
fails 1 "rising positions" logits --model m --tokens tokens.npy --out x.npy --cut 5,3
fails 1 "rising positions" logits --model m --tokens tokens.npy --out x.npy --cut 90
fails 1 "text.txt is no .npy file" logits --model m --tokens text.txt --out x.npy
printf '\x00\x01\x00\x00' | npy '<i4' 1 large.npy # token 256
fails 1 "256" logits --model m --tokens large.npy --out x.npy
printf '\xff\xff\xff\xff' | npy '<i4' 1 negative.npy
fails 1 "is -1, wanted 0 to 255" logits --model m --tokens negative.npy --out x.npy
absent x.npy "refused tokens"
cp tokens.npy before.npy
fails 1 "tokens.npy is no array of logits, and stays as it is" logits --model m --tokens tokens.npy \
    --out tokens.npy
same tokens.npy before.npy "tokens that were named as the logits"
ok logits --model m --tokens tokens.npy --out fast.npy # logits replace logits

# Where the logits go: a link stays one, a pipe is written to, a folder is refused before the work.
: >linked.npy
ln -s linked.npy link.npy
ok logits --model m --tokens tokens.npy --out link.npy
[ -L link.npy ] || die "a link was replaced by the file"
same linked.npy fast.npy "logits through a link"
mkfifo pipe.npy
cat pipe.npy >piped.npy &
ok logits --model m --tokens tokens.npy --out pipe.npy
wait
same piped.npy fast.npy "logits through a pipe"
fails 1 "is a folder" logits --model m --tokens tokens.npy --out m
if [ -c /dev/full ]; then # through a link: whatever goes wrong here, the device stays
    ln -s /dev/full full.npy
    fails 1 "No space left" logits --model m --tokens tokens.npy --out full.npy
    [ -c /dev/full ] || die "the device is gone"
fi
exit 0
