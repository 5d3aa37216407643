# What the end-to-end tests share: they run the real program in a folder of their own.
#
#   ok ARGS…            hydralm ARGS must succeed; its stdout is $out, its stderr $said
#   fails CODE TEXT ARGS…  must end with CODE, say TEXT on stderr and write nothing on stdout
#   same A B WHAT       two files must be equal
#   field NAME          the first value of that name in the JSON in $out
#   equal_runs A B WHAT    two trainings must have computed the same to the last bit
set -u
hydralm=$1/hydralm
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here" || exit 1
export OMP_NUM_THREADS=2 LC_ALL=C.UTF-8
export ASAN_OPTIONS=exitcode=99 UBSAN_OPTIONS=exitcode=99 # no status of a refusal

die() {
    echo "FAILED: $*" >&2
    exit 1
}

ok() {
    "$hydralm" "$@" >stdout 2>stderr || die "hydralm $* ended with $?: $(cat stderr)"
    out=$(cat stdout)
    said=$(cat stderr)
}

fails() {
    local code=$1 text=$2
    shift 2
    "$hydralm" "$@" >stdout 2>stderr
    local got=$?
    [ $got -eq "$code" ] || die "hydralm $* ended with $got, wanted $code: $(cat stderr)"
    grep -qF -- "$text" stderr || die "hydralm $*: \"$(cat stderr)\" does not say \"$text\""
    [ -s stdout ] && die "hydralm $* failed and yet wrote on stdout: $(head -c 200 stdout)"
    return 0
}

same() { cmp -s "$1" "$2" || die "$3: $1 and $2 differ"; }
differ() { cmp -s "$1" "$2" && die "$3: $1 and $2 are equal" || return 0; }
is() { [ "$1" = "$2" ] || die "$3: got \"$1\", wanted \"$2\""; }
absent() { [ ! -e "$1" ] || die "$2: $1 was left behind"; }

field() { grep -oE "\"$1\":(\"[^\"]*\"|[^,}]*)" <<<"$out" | head -n 1 | sed "s/^\"$1\"://"; }

# A model of every letter that trains in a moment.
tiny_config() {
    cat <<'YAML'
model: {layers: "SE A WP F", d_model: 32, vocab: 256, chunk: 16}
ssm: {head_dim: 16, d_state: 16}
attention: {n_head: 2, head_dim: 16, window: 32, topk: 1}
experts: {n_expert: 4, k: 2, expert_chunk: 16, d_ff: 32}
workspace: {n_head: 1, d_k: 16, d_v: 16, reads: 2}
pkm: {n_head: 1, n_key: 8, d_key: 16, topk: 2}
train: {steps: 12, batch: 2, seq_len: 32, warmup: 2, lr: 3e-3, carry: true, eval_every: 5,
        val_fraction: 0.1}
YAML
}

# A text of so many lines.
some_text() {
    local i
    for ((i = 0; i < $1; i++)); do
        echo "Line $i: the quick brown fox jumps over $((i * 7919 % 97)) lazy dogs."
    done
}

# What the steps of a run computed, without what the clock says.
steps_of() { sed 's/,"tokens_per_s":[^,]*,"seconds":[^,}]*//' "$1/metrics.jsonl"; }

# The state of a training but its carried states: those may differ where nothing reads them (cache
# slots of an earlier document).
moments_of() {
    local file=$1/training.safetensors n spans
    n=$(($(od -An -tu8 -N8 "$file") + 9))
    spans=$(tail -c +9 "$file" | head -c $((n - 9)) | grep -oE '"stream\.[^}]*}' |
        grep -oE '\[[0-9]+,[0-9]+\]' | tr -d '[]' | tr , ' ' |
        awk 'NR == 1 || $1 < b { b = $1 } $2 > e { e = $2 } END { if (NR) print b, e }')
    [ "$spans" ] || { tail -c +$n "$file"; return; }
    tail -c +$n "$file" | head -c "${spans% *}"
    tail -c +$((n + ${spans#* })) "$file"
}

equal_runs() { # equal_runs A B WHAT
    same "$1/model.safetensors" "$2/model.safetensors" "$3: weights"
    [ "$(steps_of "$1")" = "$(steps_of "$2")" ] || die "$3: $1 and $2 had other losses"
    moments_of "$1" >"$1.moments"
    moments_of "$2" >"$2.moments"
    [ -s "$1.moments" ] || die "$3: there are no moments"
    same "$1.moments" "$2.moments" "$3: moments"
}

# Changes one byte of a file.
flip() { # flip FILE OFFSET
    local byte
    byte=$(od -An -tu1 -j "$2" -N1 "$1")
    printf "\\x$(printf %02x $((byte ^ 1)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
