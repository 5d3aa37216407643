# A training by a recipe: resumed anywhere, across the borders of stages too, it ends bit for bit as
# the run that was left alone; a dry run tells what it would do; what cannot be is told beforehand.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config | sed 's/d_ff: 32/d_ff: 96/; s/^train/ffn: {d_ff: 96}\ntrain/' >tiny.yaml
some_text 60 >text.txt

cat >recipe.yaml <<'YAML'
stages:
- name: short
  tokens: 2560
  layers: SF A WP F
  on: S A F
  train: {seq_len: 32 to 128, batch: 2}
- name: memories
  tokens: 1536
  layers: SF A WP F
  gate_ramp: 1024
  rates: {P: 2, embed: 0.5}
  freeze: [A]
  train: {seq_len: 128}
  pkm: {warmup: 768}
- name: experts
  tokens: 1280
  experts: {k: 1, temperature: 2}
  upcycle: {noise: 0.02}
  train: {seq_len: 128, accumulate: 2}
  pkm: {reseed: 500}
- name: end
  tokens: 51200
  attention: {window: 64, topk: 2}
  train: {seq_len: 128, carry: false}
  until: {val_loss: 3}
YAML

# ---- the dry run ----
ok train --config tiny.yaml --curriculum recipe.yaml --dry-run --json
is "$(field steps)" 221 "steps"
is "$(grep -o '"name":"[a-z]*"' <<<"$out" | tr -d '\n')" \
    '"name":"short""name":"short""name":"short""name":"memories""name":"experts""name":"end"' "stages"
ok train --config tiny.yaml --curriculum recipe.yaml --dry-run --hardware h100
grep -q "^short 2/3 .* 64 .* SAF " <<<"$out" || die "the dry run says: $out"
grep -q "^memories: gates of WP rise over 4 steps" <<<"$out" || die "the dry run says: $out"
"$hydralm" train --config tiny.yaml --curriculum recipe.yaml --dry-run \
    --hardware peak=1T,bandwidth=1T,memory=1M >stdout 2>stderr && die "a stage fits into a megabyte"
grep -q "recipe.yaml:2: stage 'short': it needs" stderr || die "too little memory: $(cat stderr)"
# documents that are long enough may need too much, which is no reason to refuse
ok train --config tiny.yaml --dry-run --hardware peak=1T,bandwidth=1T,memory=38M
grep -q "documents of 64K tokens would need" stderr || die "states that may grow: $(cat stderr)"
fails 1 "too many to be counted" train --config tiny.yaml --dry-run --set train.steps=1000000000000000 \
    --set train.batch=65536
ok train --config tiny.yaml --dry-run
grep -q "^all .* 12 " <<<"$out" || die "the dry run of one stage says: $out"

# ---- resumed ----
# In the background it must be the program itself that the kill reaches, not a shell around it.
train() {
    exec "$hydralm" train --config tiny.yaml --curriculum recipe.yaml --data text.txt --seed 7 \
        --threads 1 --json -v --set train.save_every=1 "$@"
}
(train --out whole) >stdout 2>stderr || die "$(cat stderr)"
out=$(cat stdout)
result=$(field train_loss)/$(field val_loss)/$(field tokens)
grep -q "stage end ended by its val_loss" stderr || die "it was not ended by its loss: $(tail -n 3 stderr)"
[ "$(field steps)" -lt 221 ] || die "a stage that reached its end took all its steps"
is "$(grep -o '"stage_end":"[a-z_]*"' whole/metrics.jsonl | cut -d: -f2 | xargs)" \
    "length length length val_loss" "what ended the stages"
is "$(tail -n 1 whole/metrics.jsonl | grep -o '"stage":"[a-z]*"')" '"stage":"end"' "the last stage"

# Whatever is kept for the backward, what reseeding looks at is there (tests/model/test_rows.c).
(train --out again --set train.recompute=true) >stdout 2>stderr || die "with recomputation: $(cat stderr)"

resumed=0
for stop in 2 4 8 11 12 15 18 20 21 25; do
    rm -rf part log
    : >log
    (train --out part) 2>log >/dev/null &
    pid=$!
    until grep -q "step $stop/" log; do kill -0 $pid 2>/dev/null || break; done
    kill -9 $pid 2>/dev/null && resumed=$((resumed + 1))
    wait $pid 2>/dev/null
    (train --out part --resume) >stdout 2>stderr || die "resuming after step $stop: $(cat stderr)"
    same whole/model.safetensors part/model.safetensors "weights, killed after step $stop"
    [ "$(steps_of whole)" = "$(steps_of part)" ] || die "other losses, killed after step $stop"
    out=$(cat stdout)
    is "$(field train_loss)/$(field val_loss)/$(field tokens)" "$result" "the result, killed after $stop"
done
[ $resumed -ge 5 ] || die "only $resumed runs were killed in time"

# Ended by how often the likeliest token was right.
printf 'stages:\n- {name: a, tokens: 51200, train: {seq_len: 128}, until: {accuracy: 0.3}}\n' >hits.yaml
ok train --config tiny.yaml --curriculum hits.yaml --data text.txt --out hits --seed 7 --threads 1
grep -q "stage a ended by its accuracy" <<<"$said" || die "accuracy did not end it: $said"
tail -n 1 hits/metrics.jsonl | grep -oE '"val_accuracy":[0-9.]+' | cut -d: -f2 |
    awk '{ exit !($1 >= .3 && $1 < 1) }' || die "the accuracy: $(tail -n 1 hits/metrics.jsonl)"

# Corpora by name: a stage of one, then both; the criterion asks one of them.
sed 's/fox/cat/; s/dogs/birds/' text.txt >other.txt
cat >mixed.yaml <<'YAML'
stages:
- {name: one, tokens: 1K, mixture: {text: 1}}
- name: both
  tokens: 51200
  mixture: {text: 1, other: 3}
  until: {val_loss: 3.5, corpus: other}
YAML
mixed() { ok train --config tiny.yaml --curriculum mixed.yaml --data text.txt:1 other.txt:1 --seed 7 --threads 1 "$@"; }
mixed --out mixed
grep -q "stage both ended by its val_loss" <<<"$said" || die "the mixture: $said"
sed -i 's/mixture: {text: 1, other: 3}/mixture: {text: 1, books: 3}/' mixed.yaml
fails 1 "mixed.yaml:5: stage 'both': the data have no corpus 'books'; they have text, other" train \
    --config tiny.yaml --curriculum mixed.yaml --data text.txt:1 other.txt:1 --out bad --quiet
sed -i 's/books: 3/other: 3/; s/corpus: other/corpus: code/' mixed.yaml
fails 1 "mixed.yaml:6: stage 'both': the data have no corpus 'code'" train --config tiny.yaml \
    --curriculum mixed.yaml --data text.txt:1 other.txt:1 --out bad --quiet

sed -i 's/corpus: code/corpus: other/; s/text: 1, other: 3/text: 1, other: 1e-9/' mixed.yaml
fails 1 "mixed.yaml:5: stage 'both': the share of other.txt in the data is too small" train --config tiny.yaml \
    --curriculum mixed.yaml --data text.txt:1 other.txt:1 --out bad --quiet
absent bad "a training whose second stage cannot be"

# What the experts got of each corpus goes by its name, whichever a stage mixes.
cat >turns.yaml <<'YAML'
stages:
- {name: one, tokens: 640, mixture: {other: 1}}
- {name: two, tokens: 640, mixture: {other: 1, text: 3}}
YAML
ok train --config tiny.yaml --curriculum turns.yaml --data text.txt:1 other.txt:1 --out turns --seed 7 \
    --threads 1 --set train.detail_every=1 --set train.val_fraction=0
grep -o '"corpora":[^]]*]' turns/metrics.jsonl | sort -u >names
is "$(cat names)" '"corpora":["text","other"]' "names of corpora"
# tokens of text and of other that the experts of layer 0 got in each step
grep -o '"load":\[\[\[[^]]*\],\[[^]]*\]' turns/metrics.jsonl | tr -d '":[a-z' |
    awk -F'],' '{ for (i = 1; i <= 2; i++) { n = split($i, x, ","); t = 0; for (j = 1; j <= n; j++) t += x[j]; printf "%d ", (t > 0) } print "" }' |
    uniq -c >loads
is "$(head -n 1 loads | xargs)" "10 0 1" "the first stage reads other alone: $(cat loads)"
grep -q " 1 1 *$" loads || die "the second stage reads both: $(cat loads)"
for stage in one two; do
    grep -q "stage $stage ended by its length" <<<"$said" || die "the end of stage $stage was not told: $said"
done
name=$(printf 'caf\351')
mkdir "$name" && cp text.txt "$name"
ok train --config tiny.yaml --data "$name:1" other.txt:1 --out odd --seed 7 --steps 1 --quiet
grep -q '"corpora":\["caf?","other"\]' odd/metrics.jsonl || die "a name that is no UTF-8: $(tail -n 1 odd/metrics.jsonl)"

# The gate that is told is what the forward multiplies by: of letters that are off 0, in a ramp its share.
printf 'stages:\n- {name: a, tokens: 256, on: S A}\n- {name: b, tokens: 640, gate_ramp: 512}\n' >ramp.yaml
ok train --config tiny.yaml --curriculum ramp.yaml --data text.txt --out ramp --seed 7 --threads 1 --quiet \
    --set train.detail_every=1 --set train.lr=1e-9
for of in 'F 1' 'W 0.1' 'P 0.1'; do
    grep -oE "\"${of% *}\":\{[^}]*\"gate\":\[[0-9.]+" ramp/metrics.jsonl | grep -oE '[0-9.]+$' |
        awk -v g="${of#* }" '{ want = NR <= 4 ? 0 : NR <= 12 ? g * (NR - 4) / 8 : g
                               if (($1 - want) ^ 2 > 1e-10) bad = bad " " NR ":" $1 }
                             END { if (bad != "" || NR != 14) { print NR bad; exit 1 } }' ||
        die "gates of $of in the ramp: $(grep -o '"W":{[^}]*}' ramp/metrics.jsonl)"
done

# What a stage leaves is a model like any other: letters that are off have gates of 0.
ok inspect whole
sed '/name: memories/,$d' recipe.yaml >first.yaml
ok train --config tiny.yaml --curriculum first.yaml --data text.txt --out first --seed 7 --threads 1
ok eval --model first --data text.txt --json
[ "$(field nats_per_token)" != "" ] || die "no loss of a model with letters that are off: $out"

# ---- refused ----
refused() { # refused SAID RECIPE
    printf '%s\n' "$2" >bad.yaml
    fails 1 "$1" train --config tiny.yaml --curriculum bad.yaml --data text.txt --out bad --quiet
    absent bad "a training that was refused"
}
refused "bad.yaml:2: stage 'a': 'Q' in on is no letter" 'stages:
- {name: a, tokens: 1K, on: Q}'
refused "bad.yaml:3: stage 'a': there is no field train.speed" 'stages:
- name: a
  train: {speed: 1}
  tokens: 1K'
refused "bad.yaml:2: name has the control character 0x1b" 'stages:
- {name: "\e[2J", tokens: 1K}'
refused "bad.yaml has no stages" ''
fails 1 "or a curriculum, which says its length" train --config tiny.yaml --curriculum recipe.yaml \
    --data text.txt --out bad --steps 3 --quiet
fails 1 "has another curriculum" train --config tiny.yaml --curriculum first.yaml \
    --data text.txt --out whole --resume --quiet --seed 7
# what does not matter may change between two starts: paths, how often it saves, the length that the recipe says
cp recipe.yaml moved.yaml
cp text.txt moved.txt
ok train --config tiny.yaml --curriculum moved.yaml --data moved.txt --out whole --resume --seed 7 --threads 1 \
    --set train.keep=4 --set train.save_every=7 --set train.save_minutes=2 --set train.steps=3
# and what matters may not
for change in 's/val_loss: 3/val_loss: 2.9/' 's/gate_ramp: 1024/gate_ramp: 1152/' 's/noise: 0.02/noise: 0.03/' \
    's/P: 2/P: 3/' 's/reseed: 500/reseed: 600/' 's/temperature: 2/temperature: 3/' 's/2560/3840/'; do
    sed "$change" recipe.yaml >moved.yaml
    cmp -s recipe.yaml moved.yaml && die "$change changes nothing"
    fails 1 "has another curriculum; wanted the same stages; to resume, only these of train may change: steps, " \
        train --config tiny.yaml --curriculum moved.yaml --data text.txt --out whole --resume --seed 7 --quiet
done
ok train --config tiny.yaml --data text.txt --out plain --seed 7 --threads 1 --steps 2
fails 1 "has no curriculum" train --config tiny.yaml --curriculum recipe.yaml --data text.txt --out plain --resume \
    --seed 7 --quiet
fails 1 "No such file" train --config tiny.yaml --curriculum none.yaml --data text.txt --out bad --quiet
# no text is held out of so little
echo "ab" >little.txt
fails 1 "recipe.yaml:25: stage 'end': until asks for held-out text" train --config tiny.yaml \
    --curriculum recipe.yaml --data little.txt --out bad --quiet
exit 0
