# train.optimizer=muon: it learns; the same twice; killed and resumed it ends as the run left alone.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config | sed 's/steps: 12/steps: 20, save_every: 5, optimizer: muon/' >tiny.yaml
some_text 60 >text.txt
run() { "$hydralm" train --config tiny.yaml --data text.txt --seed 7 --threads 2 --json -v "$@"; }

run --out whole >stdout 2>stderr || die "$(cat stderr)"
out=$(cat stdout)
awk -v x="$(field train_loss)" 'BEGIN { exit !(x > 1 && x < 5.2) }' ||
    die "twenty steps end at a loss of $(field train_loss), a fresh model has 5.55"
run --out again >/dev/null 2>&1
equal_runs whole again "the same twice"

: >log
"$hydralm" train --config tiny.yaml --data text.txt --seed 7 --threads 2 --out part -v 2>log >/dev/null &
pid=$!
until grep -q saved log; do kill -0 $pid 2>/dev/null || break; sleep .02; done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
[ -e part/training.json ] || die "a checkpoint was reported, but there is none"
run --out part --resume >stdout 2>stderr || die "$(cat stderr)"
equal_runs whole part "killed after a checkpoint and resumed"

# it is not AdamW, and a run of one is not continued by the other
sed 's/muon/adamw/' tiny.yaml >adamw.yaml
ok train --config adamw.yaml --data text.txt --seed 7 --threads 2 --out other
[ "$(steps_of whole)" != "$(steps_of other)" ] || die "muon and adamw had the same losses"
fails 1 "another configuration" train --config adamw.yaml --data text.txt --seed 7 --out part --resume
exit 0
