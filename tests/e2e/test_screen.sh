# The live screen of a training on a terminal (script's pseudo-terminal), and plain lines elsewhere.
. "$(dirname "$0")/lib.sh" "$1"
command -v script >/dev/null || { echo "skip: there is no script(1)"; exit 77; }
tiny_config >tiny.yaml
some_text 40 >text.txt
run="'$hydralm' train --config tiny.yaml --data text.txt --seed 7 --threads 1 --force"

# COLUMNS ENV…: the bytes that a terminal of that width is sent go to the file `screen`.
on_terminal() {
    local columns=$1
    shift
    env SHELL="$BASH" "$@" script -qefc "stty cols $columns rows 30; $run --out m" /dev/null >screen </dev/null ||
        die "on a terminal of $columns columns: $(cat screen)"
    tr '\r' '\n' <screen | sed 's/\x1b\[[0-9;]*[A-Za-z]//g' >plain
}

on_terminal 100 TERM=xterm NO_COLOR= LC_ALL=C.UTF-8
grep -q $'\x1b\\[[0-9]*A' screen || die "nothing was drawn in place: $(cat screen)"
grep -q $'\x1b\\[1m' screen || die "there is no colour"
for part in 'step 12/12' '100%' 'loss ' 'bits/byte' 'held out' 'rate ' 'tokens/s' 'experts' '% even' 'dead' \
    'memory ' 'of the table read' resident; do
    grep -qF -- "$part" plain || die "the screen does not say \"$part\": $(tail -n 20 plain)"
done
grep -q '[▁▂▃▄▅▆▇█]' plain || die "there is no sparkline: $(tail -n 8 plain)"
grep -q $'\x1b\\[?' screen && die "a mode of the terminal was changed"
[ "$(grep -c '  saved' plain)" = 1 ] || die "checkpoints stay on the screen: $(cat plain)"

# What is drawn fits, whatever the width; the lines that stay may be longer.
for columns in 100 60 30 8; do
    on_terminal $columns TERM=xterm NO_COLOR=1 LC_ALL=C.UTF-8
    widest=$(grep -v '  lr .*  norm ' plain | grep -v peak | wc -L)
    [ "$widest" -lt "$columns" ] || die "$widest wide on $columns columns: $(cat plain)"
    grep -q $'\x1b\\[[0-9;]*m' screen && die "there is colour in spite of NO_COLOR"
done
on_terminal 80 TERM=xterm LC_ALL=C
grep -q '[▁▂▃▄▅▆▇█]' plain && die "block characters where the locale has none"
on_terminal 80 TERM=dumb
grep -q $'\x1b' screen && die "a dumb terminal was sent escapes"
grep -q '^step 12/12  loss ' plain || die "plain lines on a dumb terminal: $(cat plain)"

# Elsewhere: lines.
ok train --config tiny.yaml --data text.txt --seed 7 --threads 1 --force --out m
grep -q $'\x1b' stderr && die "a log was sent escapes"
grep -q '^step 12/12  loss .*  saved$' stderr || die "plain lines: $said"
ok train --config tiny.yaml --data text.txt --seed 7 --threads 1 --force --out m --quiet
is "$said" "" "--quiet"

# Ctrl-C: the step ends, a checkpoint is written, the terminal is as it was.
sed 's/steps: 12/steps: 100000/' tiny.yaml >long.yaml
(
    until [ -s long/metrics.jsonl ]; do sleep .05; done
    sleep .3
    printf '\003'
    for ((i = 0; i < 300; i++)); do [ -e after ] && break; sleep .1; done
) | env TERM=xterm SHELL="$BASH" timeout 60 script -qefc "stty cols 90 rows 30; stty -a | grep -o 'isig\|icanon\|-\?echo ' >before
    '$hydralm' train --config long.yaml --data text.txt --threads 1 --out long; echo ended \$? >code
    stty -a | grep -o 'isig\|icanon\|-\?echo ' >after" /dev/null >screen &
pid=$!
for ((i = 0; i < 300; i++)); do [ -e after ] && break; sleep .1; done
kill $pid 2>/dev/null
wait $pid 2>/dev/null
is "$(cat code)" "ended 0" "Ctrl-C on a terminal"
same before after "modes of the terminal"
[ -e long/training.json ] || die "Ctrl-C left no checkpoint"
grep -q $'\x1b\\[?' screen && die "a mode of the terminal was changed"
exit 0
