# Made tasks as data: trained on, mixed, waited for by a curriculum, resumed, shown, refused.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config | sed 's/seq_len: 32/seq_len: 96/; s/carry: true/carry: false/' >tiny.yaml
one='task:recall/pairs=4'
two='task:logic/hops=1/most=8/queries=2'

ok data inspect "$one" --json
is "$(field task)" '"recall/pairs=4/key=1/gap=0"' "name of a task"
is "$(field tokens)" 18 "tokens of a document"
ok data inspect "$two"
grep -q '^chance  *0\.' stdout || die "no level of chance: $out"
is "$(grep -c '^?1' stdout)" 3 "samples"

# Another seed, other documents; the held-out ones are the same, so that both are judged alike.
ok train --config tiny.yaml --data "$one" --out a --seed 1 --threads 1
ok train --config tiny.yaml --data "$one" --out b --seed 1 --threads 1
equal_runs a b "one task, twice"
ok train --config tiny.yaml --data "$one" --out c --seed 2 --threads 1 --json
differ a/model.safetensors c/model.safetensors "another seed"
# 12 steps of 2 rows of 3 documents, each in two chunks of 16, of 4 questions
is "$(field tokens)" $((12 * 2 * 3 * 4)) "what is asked is what counts"

# Two tasks and a text, by weight; stopped and resumed, it is the same run.
some_text 40 >text.txt
ok train --config tiny.yaml --data "$one:2" "$two:1" text.txt:1 --out d --threads 1
ok train --config tiny.yaml --data "$one:2" "$two:1" text.txt:1 --out e --threads 1 --set train.save_every=5
same d/model.safetensors e/model.safetensors "when it is saved"

# A curriculum that waits for a task, with replay of the one before.
cat >recipe.yaml <<'YAML'
stages:
  - {name: first, tokens: 4K, mixture: {recall/pairs=4: 1}, until: {accuracy: 0.001, corpus: recall/pairs=4}}
  - {name: both, tokens: 1K, mixture: {recall/pairs=4: 1, logic/hops=1/most=8/queries=2: 3}}
YAML
ok train --config tiny.yaml --curriculum recipe.yaml --data "$one:1" "$two:1" --out f --threads 1
grep -q '"stage":"first".*"stage_end":"accuracy"' f/metrics.jsonl || die "the stage did not wait for its task"
grep -q '"stage":"both"' f/metrics.jsonl || die "there was no second stage"

fails 1 'there is no task:recal; the tasks are logic' train --config tiny.yaml --data task:recal --out z
fails 1 'pairs is 65, wanted at most 64' data inspect task:recall/pairs=65
fails 1 'wanted at most the 96 of train.seq_len' train --config tiny.yaml --data task:recall/pairs=64 --out z
printf 'a\nb\n' | sed 's/$/ some words/' >words.txt
ok tokenizer train words.txt --vocab 260 --out tok
fails 1 'wants the tokenizer "bytes"' train --config tiny.yaml --set model.vocab=300 --tokenizer tok --data "$one" --out z
absent z "a refused training"
exit 0
