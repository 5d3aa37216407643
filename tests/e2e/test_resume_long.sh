# Law: a run that is killed at any moment, again and again, and resumed each time ends bit for bit as
# the run that was left alone.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config | sed 's/steps: 12/steps: 40, save_every: 3/' >tiny.yaml
some_text 60 >text.txt
# In the background it must be the program itself that the kill reaches, not a shell around it.
train() { exec "$hydralm" train --config tiny.yaml --data text.txt --seed 7 --threads 1 --json -v "$@"; }

(train --out whole) >stdout 2>stderr || die "$(cat stderr)"
wanted=$(cat stdout)
start=$(date +%s%N)
(train --out timed) >/dev/null 2>&1
took=$((($(date +%s%N) - start) / 1000000)) # ms of a whole run
RANDOM=20250813
kills=0
for round in $(seq 60); do
    train --out part --resume >stdout 2>stderr &
    pid=$!
    sleep "$(awk -v t=$took -v r=$RANDOM 'BEGIN { print .02 + t / 1000 * .25 * r / 32768 }')"
    if kill -9 $pid 2>/dev/null; then kills=$((kills + 1)); fi
    if wait $pid 2>/dev/null; then break; fi
    grep -q "hydralm train:" stderr && die "resuming failed: $(cat stderr)"
    if [ -e part/config.json ]; then ok inspect part; fi
done
(train --out part --resume) >stdout 2>stderr || die "$(cat stderr)"
[ $kills -ge 3 ] || die "only $kills runs were killed in time"
same whole/model.safetensors part/model.safetensors "weights after $kills kills"
steps_of() { sed 's/,"tokens_per_s":[^,]*,"seconds":[^,}]*//' "$1/metrics.jsonl"; }
[ "$(steps_of whole)" = "$(steps_of part)" ] || die "the losses differ after $kills kills"
out=$wanted
loss=$(field train_loss)
out=$(cat stdout)
is "$(field train_loss)" "$loss" "the result after $kills kills"
[ -z "$(find part -name '.hydra*' -o -name '*.tmp*')" ] || die "temporary files were left behind"
echo "$kills kills"
exit 0
