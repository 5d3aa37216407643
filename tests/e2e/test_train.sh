# train: the same twice; resumed, killed and interrupted runs end as the run that was left alone.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config >tiny.yaml
mkdir text
some_text 30 >text/a.txt
some_text 25 >text/b.txt
train() { ok train --config tiny.yaml --data text --seed 7 --threads 2 --json "$@"; }

train --out whole
is "$(field steps)" 12 "steps"
[ "$(field peak_rss_bytes)" -gt 1000000 ] || die "peak_rss_bytes is $(field peak_rss_bytes)"
is "$(wc -l <whole/metrics.jsonl)" 12 "lines of metrics"
is "$(grep -c val_loss whole/metrics.jsonl)" 3 "evaluations (steps 5, 10 and the last)"
# what the layers say of one step: 2 of 4 experts are chosen by each unit, 64 rows can be read
tail -n 1 whole/metrics.jsonl |
    grep -oE '"(max_violation|entropy|dead|lse2|slots|kl|beta|dead_keys|decay|write|norm|window|sink|chosen|distance)":[0-9.e-]+' |
    sed 's/"//g; s/:/ /' | awk '
        { v[$1] = $2 }
        END {
            sum = v["window"] + v["sink"] + v["chosen"]
            exit !(NR == 15 && v["max_violation"] >= 0 && v["max_violation"] <= 1 &&
                   v["entropy"] >= .5 && v["entropy"] <= 1 && v["dead"] <= 2 && v["lse2"] > 0 &&
                   v["slots"] >= 2 && v["slots"] <= 64 && v["kl"] >= 0 && v["kl"] <= log(32) &&
                   v["beta"] > .05 && v["beta"] < .3 && v["dead_keys"] <= 12 &&
                   v["decay"] > .9 && v["decay"] < 1 && v["write"] > .3 && v["write"] < .7 &&
                   v["norm"] > 0 && sum > .999 && sum < 1.001 && v["distance"] > 0)
        }' || die "reports of the layers: $(tail -n 1 whole/metrics.jsonl)"
# lists at the first, every tenth and the last: 2 of 4 experts for each of at most 64 tokens
is "$(grep -c '"load":' whole/metrics.jsonl)" 3 "lines with lists"
grep -oE '"(corpora|layers)":[^,]*' whole/metrics.jsonl | sort -u | tr '\n' ' ' >lists
is "$(cat lists)" '"corpora":["text"] "layers":"SEAWPF" ' "what the lists are of"
head -n 1 whole/metrics.jsonl | grep -oE '"load":\[\[\[[0-9,]*\]\]\]' | tr -dc '0-9,\n' | awk -F, '
    { exit !(NF == 4 && $1 + $2 + $3 + $4 > 0 && ($1 + $2 + $3 + $4) % 2 == 0) }' ||
    die "loads: $(head -n 1 whole/metrics.jsonl)"
awk -v x="$(field train_loss)" 'BEGIN { exit !(x > 1 && x < 5.3) }' ||
    die "twelve steps end at a loss of $(field train_loss), a fresh model has 5.55"
result=$(field train_loss)/$(field val_bits_per_byte)/$(field tokens)
train --out again
equal_runs whole again "the same twice"
ok inspect whole
fails 1 "already holds a model" train --config tiny.yaml --data text --out whole
train --out whole --force --steps 2
is "$(wc -l <whole/metrics.jsonl)" 2 "--force begins anew"

# Stopped after 5 of 12 steps and resumed; another 12 would have another schedule.
sed 's/steps: 12/steps: 12, save_every: 5/' tiny.yaml >saving.yaml
: >log # emptied before the run begins, which may take a moment
"$hydralm" train --config saving.yaml --data text --seed 7 --threads 2 --out part -v 2>log >/dev/null &
pid=$!
until grep -q saved log; do kill -0 $pid 2>/dev/null || break; sleep .02; done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
[ -e part/training.json ] || die "a checkpoint was reported, but there is none"
ok generate --model part --prompt x --max-tokens 2
ok train --config saving.yaml --data text --seed 7 --threads 2 --out part --resume --json
equal_runs again part "killed after a checkpoint and resumed"
is "$(field train_loss)/$(field val_bits_per_byte)/$(field tokens)" "$result" "the resumed result"
train --out part --resume --steps 12
is "$(field steps)" 12 "resuming a run that is over"

# With other kernels or threads it goes on, and says that this is not the same to the last bit.
cp -r part moved
train --out moved --resume --steps 13 --threads 1
grep -q "computed by cpu:.*, 2 threads and goes on by cpu:.*, 1 thread: from here on results differ" <<<"$said" ||
    die "resumed with another number of threads: $said"
train --out moved --resume --steps 14 --threads 1
is "$said" "$(grep -v warning <<<"$said")" "resumed with the same number"

# SIGINT: the step is finished and saved; the status is that of success.
sed 's/steps: 12/steps: 100000/' tiny.yaml >long.yaml
: >log
"$hydralm" train --config long.yaml --data text --seed 7 --threads 2 --out stopped -v --json \
    2>log >stdout &
pid=$!
until grep -q "step 3/" log; do sleep .02; done
kill -INT $pid
wait $pid
is $? 0 "the status after SIGINT"
out=$(cat stdout)
is "$(field stopped)" true "stopped"
done_steps=$(field steps)
is "$(wc -l <stopped/metrics.jsonl)" "$done_steps" "lines of metrics at the interruption"
ok train --config long.yaml --data text --seed 7 --threads 2 --out stopped --resume --json \
    --steps $((done_steps + 2))
is "$(field steps)" $((done_steps + 2)) "steps after resuming"

# A second signal does not wait for the step, which takes long on the reference.
"$hydralm" train --config tiny.yaml --data text --out forced --quiet --backend ref \
    --set train.batch=16 --set train.seq_len=1600 --set train.carry=false 2>log &
pid=$!
sleep 1
kill -INT $pid
sleep .3
kill -INT $pid
wait $pid
is $? 130 "the status after a second SIGINT"
absent forced/model.safetensors "a run that was forced to end"

# Two trainings into one directory: the second is refused, whatever it may replace.
"$hydralm" train --config long.yaml --data text --seed 7 --threads 1 --out shared -v 2>log >stdout &
pid=$!
until grep -q "step 3/" log; do kill -0 $pid || die "the first of two trainings ended: $(cat log)"; sleep .02; done
for how in --force --resume; do
    fails 1 "another training is writing to shared" train --config long.yaml --data text --seed 7 \
        --out shared --quiet $how
done
fails 1 "another training is writing to shared" init --config tiny.yaml --out shared --force
fails 1 "another training is writing to shared" convert --from whole --out shared --quantize int8 --force
kill -INT $pid
wait $pid
is $? 0 "the status of the first of two trainings"
is "$(grep -o '^{"step":[0-9]*' shared/metrics.jsonl | cut -d: -f2)" \
    "$(seq "$(wc -l <shared/metrics.jsonl)")" "the steps of the first of two trainings"

# Lines that were taken away are not counted: what a killed run added later still goes.
train --out t --steps 3 --force
rm t/metrics.jsonl
train --out t --steps 5 --resume
echo 'of a killed run' >>t/metrics.jsonl
train --out t --steps 6 --resume
is "$(grep -o '^{"step":[0-9]*' t/metrics.jsonl | cut -d: -f2 | xargs)" "4 5 6" "metrics after a loss"
is "$(wc -l <t/metrics.jsonl)" 3 "lines of metrics after a loss"

# Nothing to go on from: it says so.
train --out none --steps 1 --resume
grep -q "warning: there is nothing to go on from in none: a new training begins" <<<"$said" ||
    die "a resumption of nothing: $said"

# What does not fit is refused, and nothing changes.
cp stopped/model.safetensors before
fails 1 "another configuration" train --config long.yaml --data text --seed 8 --out stopped --resume
fails 1 "another configuration" train --config long.yaml --data text --seed 7 --out stopped --resume \
    --set train.lr=1e-3
fails 1 "same data" train --config long.yaml --data text/a.txt --seed 7 --out stopped --resume
same stopped/model.safetensors before "refused resumptions"
ok init --config tiny.yaml --out fresh
fails 1 "without the state of a training" train --config tiny.yaml --data text --out fresh --resume
train --out new --resume --steps 1 # nothing to resume yet: it begins
is "$(field steps)" 1 "--resume of nothing"

# A log of another program stays, unless told otherwise; one of a run that was killed early does not.
mkdir odd
echo '{"step": 1, "tokens": 5}' | tee odd/metrics.jsonl >before
for how in --resume --quiet; do
    fails 1 "odd/metrics.jsonl is not the log of a training" train --config tiny.yaml --data text --out odd $how
done
same odd/metrics.jsonl before "a log of another program"
train --out odd --force --steps 1
is "$(wc -l <odd/metrics.jsonl)" 1 "a log that was replaced"
mkdir early
{ head -n 1 again/metrics.jsonl; echo '{"step":2,'; } >early/metrics.jsonl
train --out early --steps 1
is "$(wc -l <early/metrics.jsonl)" 1 "the log of a run that was killed early"

fails 2 "train.seed is '9000000000000000000'" train --config tiny.yaml --data text --out seed \
    --set train.seed=9000000000000000000
absent seed "a training with a seed that cannot be read back"

# Other ways to train.
train --out t --force --set train.carry=false --set train.accumulate=2 --set train.recompute=true
is "$(field steps)" 12 "steps with accumulation"
train --out t --force --set model.layers=AF --set train.schedule=wsd --steps 1000000 --minutes 0.02
is "$(field stopped)" true "the time limit"
fails 2 "no field" train --config tiny.yaml --data text --out x --set train.speed=9
fails 2 "section.key=value" train --config tiny.yaml --data text --out x --set train.lr
# A rate that makes the weights overflow: a sentence, and no model.
fails 1 "diverged" train --config tiny.yaml --data text --out x --quiet --steps 60 \
    --set train.lr=10 --set train.weight_decay=1 --set train.clip=0 --set train.warmup=0
absent x/model.safetensors "a run that diverged"
# Where the held-out loss is the first to tell, its checkpoint is not written.
fails 1 "diverged" train --config tiny.yaml --data text --out y --quiet --steps 60 --set train.optimizer=adamw \
    --set train.eval_every=1 --set train.save_every=1 --set train.lr=10 --set train.weight_decay=1 \
    --set train.clip=0 --set train.warmup=0
# Where attention looks is asked of all places of a segment in turn: in fresh segments of 64 tokens, all
# of them in the window, even weights are 16 tokens back on average, and 31 at the last place.
ok train --config tiny.yaml --data text --seed 7 --threads 2 --quiet --out places --steps 60 --set train.carry=false \
    --set train.batch=1 --set train.seq_len=64 --set attention.window=64 --set train.lr=1e-9
grep -oE '"distance":[0-9.]+' places/metrics.jsonl | cut -d: -f2 |
    awk '{ sum += $1 } END { if (NR != 60 || (sum / NR - 15.75) ^ 2 > 1) { print sum / NR; exit 1 } }' ||
    die "places that attention is looked at in"
exit 0
