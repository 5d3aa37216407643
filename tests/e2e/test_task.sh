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

# Steps in which nothing is asked, more in a row than may be dropped: they change no weights, and
# the run goes on.
seldom() { # seldom STEPS OUT
    ok train --config tiny.yaml --data task:hops/hops=9/alphabet=26/length=20 --out "$2" --threads 1 \
        --steps "$1" --set train.batch=1 --set train.seq_len=64 --set train.schedule=wsd \
        --set train.decay=0 --set train.pkm_lr=1 --json
}
seldom 40 g
is "$(wc -l <g/metrics.jsonl)" 40 "lines of a run that is seldom asked"
is "$(field dropped)" 0 "steps that asked nothing are not dropped"
grep -q 'unsound\|nan' g/metrics.jsonl && die "a step that asked nothing is unsound"
quiet=$(grep -c '"loss":null,"bits_per_byte":null,.*"grad_norm":null' g/metrics.jsonl)
[ "$quiet" -gt 3 ] && [ "$quiet" -lt 40 ] || die "$quiet of 40 steps asked nothing"
grep '"loss":null' g/metrics.jsonl | grep -q grad_norms && die "norms of a step without a gradient"
# the first quiet step behind one that was not
at=$(awk '/"loss":null/ { if (loud) { print NR; exit } next } { loud = 1 }' g/metrics.jsonl)
seldom "$((at - 1))" h
seldom "$at" i
same h/model.safetensors i/model.safetensors "a step that asked nothing"
# one that is the last tenth of a run alone
at=$(awk 'NR > 10 && NR < 20 && /"loss":null/ { print NR; exit }' g/metrics.jsonl)
[ "$at" ] || die "steps 11 to 19 all asked something: this test shows nothing"
seldom "$at" j
last=$(sed -n "$((at - 1))p" g/metrics.jsonl | grep -oE '"loss":[^,]*' | cut -d: -f2)
awk -v a="$(field train_loss)" -v b="$last" 'BEGIN { d = a / b - 1; exit !(d < 1e-6 && d > -1e-6) }' ||
    die "the last tenth asked nothing: the loss is $(field train_loss), before that $last"

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
