# checkpoints: the older ones that are kept, what happens when some are damaged, when the disk is
# full, and when the configuration is another one.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config | sed 's/steps: 12/steps: 12, save_every: 3, keep: 3/' >tiny.yaml
some_text 40 >text.txt
options="--config tiny.yaml --data text.txt --seed 7 --threads 1 --json"
kept() { (cd "$1" && echo checkpoints/*); }

# shellcheck disable=SC2086 # the options are words
train() { ok train $options "$@"; }
train --out whole
awk -v s="$(field save_seconds)" -v all="$(field seconds)" 'BEGIN { exit !(s > 0 && s < all) }' ||
    die "save_seconds is $(field save_seconds) of $(field seconds)"
is "$(kept whole)" "checkpoints/step-6 checkpoints/step-9" "what is kept of 3, 6, 9 and 12"
ok generate --model whole/checkpoints/step-6 --prompt x --max-tokens 2
ok inspect whole/checkpoints/step-9
differ whole/model.safetensors whole/checkpoints/step-9/model.safetensors "three steps"

# By the clock, too: it changes nothing of the run, and is never where a run goes back to.
# shellcheck disable=SC2086
clock() { ok train $options -v --set train.save_every=0 --set train.save_minutes=1e-6 "$@"; }
clock --out part
saves=$(grep -c " saved$" <<<"$said")
[ "$saves" -ge 2 ] || die "by the clock it saved $saves times: $said"
equal_runs whole part "saved by the clock"
clock --out part --force --set train.on_spike=rewind
is "$(grep -c " saved$" <<<"$said")" 1 "a run that may go back saves by steps alone"
clock --out part --force --set train.save_minutes=0
is "$(grep -c " saved$" <<<"$said")" 1 "a run that saves neither by steps nor by the clock"
rm -rf part

# A damaged newest one: the run goes on from the one before it, says so, and ends the same.
n=0
falls_back() { # falls_back WHAT FROM SAYS; the damaged run is in `part`
    train --out part --resume
    grep -qF "warning: the newest checkpoint is damaged: part/$3" <<<"$said" || die "$1: $said"
    grep -qF "going on from part/checkpoints/$2" <<<"$said" || die "$1: $said"
    equal_runs whole part "$1"
    is "$(kept part)" "$4" "$1: what is kept"
    train --out part --resume
    is "$said" "" "$1: the next start"
    rm -rf part
    n=$((n + 1))
}
both="checkpoints/step-6 checkpoints/step-9"
for file in model.safetensors training.safetensors training.json config.json tokenizer.json; do
    cp -r whole part
    flip part/$file $((RANDOM % $(wc -c <part/$file)))
    falls_back "a flipped byte in $file" step-9 "$file has the checksum" "$both"
done
cp -r whole part
truncate -s -1 part/training.safetensors
falls_back "a file cut short" step-9 "training.safetensors has the checksum" "$both"
cp -r whole part
rm part/training.json
falls_back "a missing file" step-9 "training.json is missing" "$both"
cp -r whole part
: >part/checksums.json
falls_back "an empty list of checksums" step-9 "checksums.json" "$both"
cp -r whole part
rm part/config.json part/checksums.json
flip part/checkpoints/step-9/model.safetensors 3000
falls_back "two damaged" step-6 "checksums.json does not exist" "$both"

cp -r whole part
for dir in part part/checkpoints/*; do flip "$dir/model.safetensors" 4000; done
# shellcheck disable=SC2086
fails 1 "the training in part cannot be resumed: part/model.safetensors has the checksum" \
    train $options --out part --resume
grep -q "the older checkpoints are damaged, too" stderr || die "all damaged: $(cat stderr)"
rm -r part/checkpoints
# shellcheck disable=SC2086
fails 1 "there is no older checkpoint" train $options --out part --resume
rm -r part

# Steps that were given up do not come back: neither theirs nor what the run was before --force.
cp -r whole part
flip part/model.safetensors 3000
flip part/checkpoints/step-9/model.safetensors 3000
train --out part --resume --set train.save_every=4
is "$(kept part)" "checkpoints/step-6 checkpoints/step-8" "another interval after falling back"
train --out part --resume --set train.keep=1 --steps 13
is "$(kept part)" "checkpoints/*" "keep: 1"
train --out part --force --steps 3
train --out part --resume --steps 5 --set train.save_every=4
is "$(kept part)" "checkpoints/step-3 checkpoints/step-4" "a run that replaced another"

# --force, killed before the first checkpoint: the folder is the old run's, which goes on; killed behind it, the new one's.
rm -rf part fresh
train --out part
ls part/events >events.before
cp part/metrics.jsonl metrics.before
killed() { # killed SAYS OPTIONS…: a run that takes the place of part's ends when it says so
    local says=$1
    shift
    : >log
    # shellcheck disable=SC2086
    "$hydralm" train $options --out part --force -v --steps 100000 --set train.save_minutes=0 "$@" 2>log >/dev/null &
    pid=$!
    until grep -q "$says" log; do kill -0 $pid || die "a run to be killed ended: $(cat log)"; sleep .02; done
    kill -9 $pid
    wait $pid 2>/dev/null
}
killed "step 3/" --seed 8 --set train.save_every=0
same part/metrics.jsonl metrics.before "the log of a run that was not replaced yet"
is "$(ls part/events)" "$(cat events.before)" "the events of a run that was not replaced yet"
ok report part --json
is "$(field steps)" 12 "the steps of a run that was not replaced yet"
train --out part --resume
equal_runs whole part "a run that was not replaced"
absent part/metrics.jsonl.new "the log of a killed run"
killed saved --seed 8 --set train.save_every=4
differ part/model.safetensors whole/model.safetensors "a run that was replaced"
steps=$(grep -oE '"step": [0-9]+' part/training.json | tr -dc 0-9)
# shellcheck disable=SC2086
ok train $options --out part --resume --seed 8 --steps 100000 --minutes 1e-3
# shellcheck disable=SC2086
ok train $options --out fresh --seed 8 --steps 3
is "$(steps_of part | head -n 1)" "$(steps_of fresh | head -n 1)" "the log of a run that took another's place"
n=$(wc -l <part/metrics.jsonl)
[ "$n" -ge "$steps" ] || die "a log of $n lines after $steps steps"
is "$(grep -o '^{"step":[0-9]*' part/metrics.jsonl | cut -d: -f2)" "$(seq "$n")" "the steps of its log"

# A log that is not the checkpoint's: whole lines of it stay, and the run says so.
rm -rf part
cp -r whole/checkpoints/step-9 part
head -c -10 whole/metrics.jsonl | head -n 5 >part/metrics.jsonl
printf '{"step":6,"loss' >>part/metrics.jsonl
train --out part --resume
grep -q "warning: part/metrics.jsonl is not as the checkpoint left it: of [0-9]* bytes whole lines of" <<<"$said" ||
    die "a log that was cut short: $said"
is "$(grep -o '^{"step":[0-9]*' part/metrics.jsonl | cut -d: -f2 | xargs)" "1 2 3 4 5 10 11 12" "a log that was cut short"
ok report part --json

# The disk is full in the middle of a save (no file may grow beyond 40 KB): a sentence, the
# checkpoint before it stays, and the run goes on from there.
rm -rf part
cp -r whole/checkpoints/step-9 part
cp whole/metrics.jsonl part
# shellcheck disable=SC2086
(
    trap '' XFSZ
    ulimit -f 40
    fails 1 "cannot write part/" train $options --out part --resume --quiet
) || exit 1
grep -q "File too large" stderr || die "a full disk: $(cat stderr)"
[ -z "$(find part -name '.hydra*' -o -name '*.tmp*')" ] || die "a full disk leaves files behind"
train --out part --resume
equal_runs whole part "after a full disk"

# Weights that are a link: the older checkpoint has what it leads to. One that leads nowhere is no hindrance.
cp -r whole/checkpoints/step-9 linked
cp whole/metrics.jsonl linked
mv linked/model.safetensors weights
ln -s ../weights linked/model.safetensors
train --out linked --resume
same weights linked/checkpoints/step-9/model.safetensors "what a link leads to"
ln -s nowhere linked/checkpoints/step-9/link
train --out linked --resume --set train.keep=1 --steps 13
grep warning <<<"$said" && die "removing a checkpoint with a link in it: $said"
absent linked/checkpoints/step-9 "an old checkpoint"

# Another configuration: which field, what it was, what it is.
other() { # other SAYS OPTIONS…
    local says=$1
    shift
    # shellcheck disable=SC2086
    fails 1 "another configuration: $says; to resume, only" train $options --out whole --resume "$@"
}
cp whole/model.safetensors before
other "train.lr is 0.003 there, but 0.01 now" --set train.lr=0.01
other "train.seed is 7 there, but 8 now" --seed 8
other "model.d_model is 32 there, but 64 now" --set model.d_model=64
other 'model.layers is "SE A WP F" there, but "S" now' --set model.layers=S
same whole/model.safetensors before "refused resumptions"
exit 0
