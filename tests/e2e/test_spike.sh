# train.spike, train.on_spike: a stretch of noise in a text of one repeated line is a spike; without a
# policy it spoils the model, dropped or passed over it does not. The same twice; killed and resumed
# it ends as the run left alone.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config | sed 's/^train: .*/train: {steps: 150, batch: 1, seq_len: 64, warmup: 2, lr: 1e-2, optimizer: adamw,/
    s/val_fraction: 0.1/val_fraction: 0, save_every: 20, schedule: wsd/; s/eval_every: 5/eval_every: 0/' >tiny.yaml
lines() { for ((i = 0; i < $1; i++)); do echo "the quick brown fox jumps over a lazy dog"; done; }
noise() { seq 7 7 900 | awk '{ for (i = 0; i < 2; i++) printf "%c%c", 33 + ($1 * $1 * 13 + i * 7) % 90, 33 + ($1 * 31 + i * i * 5) % 90 }'; }
{ lines 160 && noise && lines 200; } >text.txt
flags=(train --config tiny.yaml --data text.txt --seed 3 --threads 1 --json)
# The mean loss of steps 116 … 119, after the noise; of a sound model .001.
after() { grep -oE '"step":11[6-9],.*' "$1/metrics.jsonl" | sed 's/.*"loss":\([^,]*\),.*/\1/' |
    awk '{ s += $1 } END { print s / NR }'; }

ok "${flags[@]}" --out without
awk -v x="$(after without)" 'BEGIN { exit !(x > .005) }' ||
    die "the noise does no harm ($(after without)): this test shows nothing"

skip=(--set train.spike=10 --set train.on_spike=skip --set train.spike_limit=20)
ok "${flags[@]}" --out skip "${skip[@]}"
is "$(field rewound)" 0 "times that a skipping run went back"
awk -v n="$(field dropped)" 'BEGIN { exit !(n >= 8 && n <= 10) }' || die "$(field dropped) dropped"
is "$(grep -c '"unsound":"the loss' skip/metrics.jsonl)" "$(field dropped)" "dropped steps told"
is "$(wc -l <skip/metrics.jsonl)" 150 "lines of metrics"
awk -v x="$(after skip)" 'BEGIN { exit !(x < .002) }' || die "after dropped noise: $(after skip)"
ok "${flags[@]}" --out skip2 "${skip[@]}"
same skip/model.safetensors skip2/model.safetensors "dropped twice alike"

rewind=(--set train.spike=10 --set train.on_spike=rewind --set train.spike_limit=20)
ok "${flags[@]}" --out back -v "${rewind[@]}"
is "$(grep -c "  goes back: the loss" <<<"$said")" "$(field rewound)" "lines of steps gone back from"
is "$(field dropped)" 0 "steps that a rewinding run dropped"
awk -v n="$(field rewound)" 'BEGIN { exit !(n >= 8 && n <= 10) }' || die "$(field rewound) times back"
is "$(wc -l <back/metrics.jsonl)" 150 "lines of metrics"
grep -q unsound back/metrics.jsonl && die "the steps gone back from are in the metrics"
is "$(tail -n 1 back/metrics.jsonl | grep -o '"rewound":[0-9]*')" "\"rewound\":$(field rewound)" "told"
awk -v x="$(after back)" 'BEGIN { exit !(x < .002) }' || die "after passed noise: $(after back)"

# killed at the first checkpoint that a dropped step, or a return, stands before
for how in skip back; do
    if [ $how = skip ]; then set -- "${skip[@]}"; else set -- "${rewind[@]}"; fi
    : >log
    "$hydralm" "${flags[@]}" --out part --force -v "$@" 2>log >/dev/null &
    pid=$!
    until grep -q "step 120/.*saved" log; do kill -0 $pid 2>/dev/null || break; sleep .01; done
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
    ok "${flags[@]}" --out part --resume "$@"
    same $how/model.safetensors part/model.safetensors "$how: killed and resumed"
    [ "$(steps_of $how)" = "$(steps_of part)" ] || die "$how: killed and resumed, other losses"
done

# not for ever
fails 1 "after 3 dropped steps in a row" "${flags[@]}" --out t --set train.spike=10 \
    --set train.on_spike=skip
fails 1 "after 3 returns to one checkpoint in a row" "${flags[@]}" --out t --force \
    --set train.spike=10 --set train.on_spike=rewind
fails 1 "at step 105 the loss of" "${flags[@]}" --out stop --set train.spike=10 --set train.on_spike=stop
ok "${flags[@]}" --out stop --resume "${skip[@]}" # another policy may go on
same skip/model.safetensors stop/model.safetensors "stopped, then resumed skipping"
for how in stop skip rewind; do # a model that is beyond help: weights of 1e30
    fails 1 "not a number" "${flags[@]}" --out nan --force --set train.lr=10 --set train.clip=0 \
        --set train.weight_decay=10 --set train.on_spike=$how
done
exit 0
