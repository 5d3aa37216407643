# A tokenizer is trained, encodes and decodes; a model is trained with it and keeps it.
. "$(dirname "$0")/lib.sh" "$1"

some_text 400 >text
mkdir folder && some_text 300 >folder/a && printf 'a\0b' >folder/binary

ok tokenizer --help
[[ $out == *"Usage: hydralm tokenizer VERB"* ]] || die "tokenizer --help is incomplete"
ok help tokenizer train
[[ $out == *"Usage: hydralm tokenizer train PATH..."* ]] || die "help of a verb is incomplete"
fails 2 "did you mean train?" tokenizer tarin
fails 2 "wants PATH..." tokenizer train --out t.json

ok tokenizer train text folder --vocab 300 --special '<|end|>' --threads 1 --out t.json --json
is "$(field vocab)" 300 "vocabulary"
is "$(field files)" 2 "files"
ok tokenizer train text folder --vocab 300 --special '<|end|>' --threads 2 --out dir
same t.json dir/tokenizer.json "training with more threads"
ok tokenizer inspect t.json
[[ $out == *"llama3"* && $out == *"special 1"* ]] || die "inspect is incomplete: $out"

head -c 5000 /dev/urandom >noise
for f in text noise; do
    ok tokenizer encode --tokenizer t.json $f
    cp stdout ids
    ok tokenizer decode --tokenizer dir ids
    same stdout $f "there and back"
done
"$hydralm" tokenizer encode --tokenizer t.json --json <<<'a<|end|>' >stdout || die "stdin"
is "$(cat stdout)" '{"tokens":[97,299,10]}' "ids as JSON"
fails 1 "cannot open nowhere" tokenizer encode --tokenizer t.json --json nowhere
for way in encode decode; do
    for ((i = 0; i < 100; i++)); do seq 97 99 | tr '\n' ' '; done >numbers
    while cat numbers 2>/dev/null; do :; done |
        timeout 20 "$hydralm" tokenizer $way --tokenizer bytes 2>stderr | head -c 10 >/dev/null
    is "${PIPESTATUS[1]}" 1 "$way whose reader has left"
done
ok tokenizer encode --tokenizer t.json --count --json text
is "$(field bytes)" "$(stat -c %s text)" "counted bytes"
fails 1 "wanted 0 to 299" tokenizer decode --tokenizer t.json --json <(echo 300)
fails 1 "wanted ids" tokenizer decode --tokenizer t.json <(echo x)
fails 1 "NUL byte" tokenizer train folder/binary --out n.json
: >folder/empty && printf 'na\xefve caf\xe9' >folder/latin1
ok tokenizer train text folder --vocab 300 --special '<|end|>' --out again.json --json
is "$(field files)" 2 "files that are text"
same t.json again.json "passing over what is no text"
fails 1 "folder/latin1 is not text: more than one byte in a hundred" tokenizer train folder/latin1 --out n.json
fails 1 "folder/empty is empty" tokenizer train folder/empty --out n.json
printf '{"text": "one two"}\n{"txet": 1}\n{"text": "one two"}\n' >lines.jsonl
fails 1 'lines.jsonl:2: it has no field "text"' tokenizer train lines.jsonl --out n.json
ok tokenizer train lines.jsonl --skip-broken --out l.json --json
is "$(field broken_lines)" 1 "broken lines"
fails 1 "wanted 257" tokenizer train text --vocab 256 --special '<e>' --out n.json
fails 2 "wanted gpt2 or llama3" tokenizer train text --pattern gpt --out n.json
absent n.json "a failed training"

# ---- one that is there is replaced by --force alone
cp t.json before
fails 1 "t.json already exists" tokenizer train folder --vocab 280 --out t.json
fails 1 "dir already holds a tokenizer" tokenizer train folder --vocab 280 --out dir
same t.json before "a tokenizer that was there"
same dir/tokenizer.json before "a folder's tokenizer"
cp -r dir other && cp t.json other.json
for at in other other.json; do
    ok tokenizer train folder --vocab 280 --out $at --force
    ok tokenizer inspect $at --json
    is "$(field vocab)" 280 "a tokenizer that was replaced"
done

tiny_config >tiny.yaml
fails 1 "wanted at least the tokenizer's 300" train --config tiny.yaml --data text --tokenizer t.json \
    --out m
ok train --config tiny.yaml --set model.vocab=320 --data text --tokenizer t.json --out m --json
bits=$(field val_bits_per_byte) loss=$(field val_loss)
awk -v b="$bits" -v l="$loss" 'BEGIN { exit !(b > 0 && b < l / log(2) * 0.9) }' ||
    die "bits per byte $bits of a loss of $loss are those of a token"
same m/tokenizer.json t.json "the model's tokenizer"
ok eval --model m --data text --json
is "$(field bytes)" "$(($(stat -c %s text) - $(head -c 4 text | wc -c)))" "bytes that were predicted"
ok generate --model m --prompt 'Line 1' --max-tokens 5
ok train --config tiny.yaml --set model.vocab=320 --data text --out m --steps 14 --resume
fails 1 "another tokenizer" train --config tiny.yaml --set model.vocab=320 --data text --out m \
    --tokenizer bytes --steps 16 --resume

# ---- what ends a text comes along: from a tokenizer to data, a training, a new model
ok tokenizer train text --vocab 300 --special '<|end|>' '<|endoftext|>' --out e
ok tokenizer inspect e --json
is "$(field eos)" 299 "the token that ends a text"
grep -q '"eos_token": "<|endoftext|>"' e/tokenizer_config.json || die "the config names no eos_token"
sed -i 's/<|endoftext|>/<|end|>/' e/tokenizer_config.json
ok tokenizer inspect e --json
is "$(field eos)" 298 "the token that the config says"
ok data build text --tokenizer e --out built --quiet
ok train --config tiny.yaml --set model.vocab=320 --data built --out m2 --steps 2
grep -q '"eos_token_id": 298' m2/generation_config.json || die "a trained model does not end a text"
ok train --config tiny.yaml --set model.vocab=320 --data text --tokenizer e/tokenizer.json --out m3 --steps 2
grep -q '"eos_token_id": 299' m3/generation_config.json || die "eos of a tokenizer.json alone"
ok train --config tiny.yaml --data text --tokenizer bytes --out m4 --steps 2
grep -q eos m4/generation_config.json m4/tokenizer_config.json && die "bytes end no text"
ok init --config tiny.yaml --tokenizer e --out new --json
is "$(field vocab)" 300 "the vocabulary grows to the tokenizer's"
same new/tokenizer.json e/tokenizer.json "a new model's tokenizer"
same new/tokenizer_config.json built/tokenizer_config.json "a new model's config"
grep -q '"eos_token_id": 298' new/generation_config.json || die "a new model does not end a text"
ok generate --model new --prompt 'Line 1' --max-tokens 3
ok convert --from new --out small --quantize int8
same new/generation_config.json small/generation_config.json "a quantised model"
sed 's/vocab: 256/vocab: 320/' tiny.yaml >wide.yaml
ok init --config wide.yaml --tokenizer e --out padded --json
is "$(field vocab)" 320 "a vocabulary that is large enough"
fails 1 "nowhere.json" init --config tiny.yaml --tokenizer nowhere.json --out x
absent x "a model without a tokenizer"
exit 0
