# Law: a run with a curriculum (contexts that grow, F that becomes E, gates that rise, sub-keys that are
# reseeded, a stage that a criterion ends) that is killed or asked to end at any moment, meets a full
# disk, a second process and damaged files, and is resumed each time ends bit for bit as the run that
# was left alone; no step that was reported as saved is ever computed again, but where the file that
# held it was damaged.
# SEED=N repeats the choices of one run of this test, KILLS=N says after how many it may end.
. "$(dirname "$0")/lib.sh" "$1"
seed=${SEED:-$(date +%s)}
wanted_kills=${KILLS:-30}
echo "SEED=$seed"
tiny_config | sed 's/steps: 12/save_every: 3, keep: 3/; s/d_ff: 32/d_ff: 96/; s/^train/ffn: {d_ff: 96}\ntrain/' >tiny.yaml
some_text 60 >text.txt
cat >recipe.yaml <<'YAML'
stages:
- {name: dense, tokens: 3840, layers: SF A WP F, on: S A F, train: {seq_len: 16 to 32, batch: 2}}
- {name: experts, tokens: 3840, on: S A E F, upcycle: {noise: 0.02}, freeze: [A]}
- {name: memories, tokens: 3840, gate_ramp: 2560, pkm: {warmup: 1280, reseed: 512}, train: {accumulate: 2}}
- {name: whole, tokens: 25600, until: {val_loss: 3}, train: {seq_len: 64}}
YAML
# In the background it must be the program itself that the kill reaches, not a shell around it.
train() { exec "$hydralm" train --config tiny.yaml --curriculum recipe.yaml --data text.txt --seed 7 --threads 1 --json -v "$@"; }

# Where the tests may mount, the disk is a small one that gets full; elsewhere files may not grow.
mkdir disk
mounted=no
if mount -t tmpfs -o size=16m none disk 2>/dev/null; then
    mounted=yes
    trap 'umount -l "$here/disk"; rm -rf "$here"' EXIT
fi
trap '' XFSZ
fill_disk() { # all but so many bytes
    local free
    free=$(($(stat -f -c '%a * %S' disk) - $1))
    if [ $free -gt 0 ]; then fallocate -l $free disk/filler 2>/dev/null || head -c $free /dev/zero >disk/filler 2>/dev/null; fi
}

(train --out whole) >stdout 2>stderr || die "$(cat stderr)"
wanted=$(cat stdout)
steps=$(wc -l <whole/metrics.jsonl)
is "$(grep -o '"stage_end":"[a-z_]*"' whole/metrics.jsonl | cut -d: -f2 | xargs)" \
    "length length length val_loss" "what ended the stages"
start=$(date +%s%N)
(train --out disk/timed) >/dev/null 2>&1
took=$((($(date +%s%N) - start) / 1000000)) # ms of a whole run
rm -rf disk/timed
size=$(du -sb --exclude=checkpoints whole | cut -f 1)
RANDOM=$((seed % 32768))
nap() { sleep "$(awk -v t=$took -v r=$RANDOM 'BEGIN { print .02 + t / 1000 * .25 * r / 32768 }')"; }

kills=0 asked=0 runs=0 rounds=0 full=0 damaged=0 refused=0
part=disk/part

# The sentences that a start may end with, and the steps that it made: the first follows the last
# that was saved before.
judge() { # judge STDERR
    local first last
    if grep "hydralm train:" "$1" | grep -vq warning; then
        if grep -qE "No space left|File too large" "$1"; then
            full=$((full + 1))
        elif grep -q "another training is writing" "$1"; then
            refused=$((refused + 1))
        else
            die "SEED=$seed: resuming failed: $(cat "$1")"
        fi
    fi
    if grep -v "nothing to go on from" "$1" | grep -q warning; then
        [ $hurt = yes ] || die "SEED=$seed: nothing was damaged: $(grep warning "$1")"
        saved=$(grep -oE "checkpoints/step-[0-9]+$" "$1" | grep -oE "[0-9]+$")
        damaged=$((damaged + 1))
    fi
    first=$(grep -oE "^step [0-9]+" "$1" | head -n 1 | cut -d ' ' -f 2)
    last=$(grep -E "^step .* saved$" "$1" | tail -n 1 | grep -oE "^step [0-9]+" | cut -d ' ' -f 2)
    if [ -n "$first" ]; then
        [ "$first" -gt "$saved" ] || die "SEED=$seed: step $first again after $saved was saved"
    fi
    if [ -n "$last" ]; then saved=$last hurt=no; fi
}

one_start() { # one_start FAULT
    local pid other= status
    if [ "$1" = limit ]; then
        (ulimit -f $((RANDOM % (size / 1024) + 1)) && train --out $part --resume) >stdout 2>stderr &
    else
        train --out $part --resume >stdout 2>stderr &
    fi
    pid=$!
    : >stderr2
    if [ "$1" = two ]; then
        train --out $part --resume >stdout2 2>stderr2 &
        other=$!
    fi
    nap
    if [ "$1" = full ]; then
        fill_disk $((RANDOM * size / 26000))
        nap
    fi
    if [ "$1" = ask ]; then
        if kill -TERM $pid 2>/dev/null; then asked=$((asked + 1)); fi
    elif [ -z "$other" ] && kill -9 $pid 2>/dev/null; then kills=$((kills + 1)); fi
    if [ -n "$other" ]; then
        if kill -9 $pid $other 2>/dev/null; then kills=$((kills + 1)); fi
        if wait $other 2>/dev/null; then cp stdout2 stdout; fi
    fi
    wait $pid 2>/dev/null
    status=$?
    rm -f disk/filler
    judge stderr
    if [ -n "$other" ]; then judge stderr2; fi
    if [ $status = 0 ]; then
        saved=$(grep -o '"steps":[0-9]*' stdout | cut -d: -f2)
        hurt=no
    fi
    if [ $hurt = no ] && [ -e $part/config.json ]; then ok inspect $part; fi
}

# A byte of the newest, where there is an older one to fall back to.
damage() {
    local files
    [ -e $part/checksums.json ] && [ ! -e $part/.hydra-commit ] && ls $part/checkpoints/*/checksums.json >/dev/null 2>&1 || return 0
    files=(model.safetensors training.safetensors training.json config.json)
    file=$part/${files[RANDOM % 4]}
    flip "$file" $((RANDOM % $(wc -c <"$file")))
    hurt=yes
}

while [ $kills -lt "$wanted_kills" ]; do
    rm -rf $part
    saved=0 hurt=no
    until [ "$saved" = "$steps" ]; do
        rounds=$((rounds + 1))
        [ $rounds -lt 3000 ] || die "SEED=$seed: the run does not come to an end"
        case $((RANDOM % 9)) in
        0 | 1 | 2) if [ $mounted = yes ]; then one_start full; else one_start limit; fi ;;
        3) one_start two ;;
        8) one_start ask ;;
        4)
            if [ $hurt = no ]; then damage; fi
            one_start plain
            ;;
        *) one_start plain ;;
        esac
    done
    # what is there is the end: starting once more computes nothing
    (train --out $part --resume) >stdout 2>stderr || die "SEED=$seed: $(cat stderr)"
    cp -r $part part
    equal_runs whole part "SEED=$seed, after $kills kills"
    out=$wanted
    loss=$(field train_loss)
    out=$(cat stdout)
    is "$(field train_loss)" "$loss" "SEED=$seed: the result after $kills kills"
    [ -z "$(find $part -name '.hydra*' -o -name '*.tmp*')" ] || die "SEED=$seed: temporary files were left behind"
    rm -rf part
    runs=$((runs + 1))
done
echo "$runs runs equal to the undisturbed one of $steps steps: $kills kills, $asked asked to end, $full times no room (mounted: $mounted), $refused refused beside another, $damaged damaged"
exit 0
