# report: a page and a summary of runs: whole, in progress, killed in the middle of a line, of one step, of other letters.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config >tiny.yaml
mkdir one two
some_text 30 >one/a.txt
some_text 25 >two/b.txt
ok train --config tiny.yaml --data one:1 two:1 --seed 7 --threads 2 --out whole --quiet
ok train --config tiny.yaml --data one --seed 8 --threads 2 --out plain --quiet --set "model.layers=S F"

page() { # WHAT FILE TEXT…: the page is one file of its own, and has the texts
    local what=$1 file=$2
    shift 2
    grep -qE '<script|<link|(src|href)="?http|@import|url\(http' "$file" && die "$what: the page asks for something else"
    [ "$(wc -c <"$file")" -lt 2000000 ] || die "$what: the page has $(wc -c <"$file") bytes"
    grep -q 'nan<\|inf<\|>-nan' "$file" && die "$what: the page says nan"
    for text in "$@"; do grep -qF -- "$text" "$file" || die "$what: the page does not say \"$text\""; done
}

ok report whole --out page.html
is "$out" "" "nothing on stdout"
page "a run" page.html "Training of whole" "SEAWPF" "Training loss" "Held-out loss" "Learning rate" "by letter" \
    "A: sparse attention" "How far back it looks" "E: routed experts" "MaxVio" "Load by text of one" \
    "Load by text of two" "Experts by corpus" "W: workspace memory" "Decay a" "Share of each read" \
    "P: product-key memory" "Slots used" "KL from even" "Mean β" "Final figures"
ok report whole plain/metrics.jsonl --out page.html --quiet
is "$said" "" "--quiet"
page "two runs" page.html "2 trainings compared" ">whole<" "Which read counts"
ok report plain --out page.html
page "a run of S and F" page.html "S: state space" "F: feed-forward"
grep -q "routed experts" page.html && die "letters that the run lacks are on its page"

ok report whole plain --json
is "$(field steps)" 12 "steps"
loss=$(tail -n 1 whole/metrics.jsonl | grep -oE '"val_loss":[0-9.]+' | cut -d: -f2)
awk -v a="$(field val_loss)" -v b="$loss" 'BEGIN { exit !(a > b - 1e-9 && a < b + 1e-9) }' || die "val_loss: $out"
grep -q '"layers":"SF"' <<<"$out" || die "the second run: $out"

# killed in the middle of a line, in progress, one step
mkdir cut first
head -c -40 whole/metrics.jsonl >cut/metrics.jsonl
head -n 1 whole/metrics.jsonl >first/metrics.jsonl
ok report cut --json --out page.html
is "$(field steps)/$(field cut)" 11/true "a line that was cut off"
page "a run that was killed" page.html "was cut off"
ok report first --json --out page.html
is "$(field steps)" 1 "one step"
page "a run of one step" page.html "Training loss"

# a million steps, told by a few numbers each
awk 'BEGIN { for (i = 1; i <= 1000000; i++) printf "{\"step\":%d,\"loss\":%.4f,\"lr\":1e-3}\n", i, 2 + 100 / (i + 100) }' >long.jsonl
ok report long.jsonl --json --out page.html
is "$(field steps)" 1000000 "a million steps"
page "a million steps" page.html "1M"

# bad input
fails 1 "there is no run nowhere" report nowhere --out page.html
fails 1 "one is no run: there is no metrics.jsonl in it" report one --out page.html
mkdir empty broken
: >empty/metrics.jsonl
fails 1 "empty/metrics.jsonl has no step yet" report empty --out page.html
{ head -n 2 whole/metrics.jsonl; echo '{"step": 3, oops}'; } >broken/metrics.jsonl
fails 1 "broken/metrics.jsonl, line 3: " report broken --out page.html
echo '[1]' >broken/metrics.jsonl
fails 1 "line 1: this is no object" report broken --out page.html
echo '{"loss": 1}' >broken/metrics.jsonl
fails 1 "line 1: there is no step" report broken --out page.html
echo '{"step": 1, "E": {"load": [[1], [1, 2]]}}' >broken/metrics.jsonl
fails 1 "line 1: lists in a list differ in length" report broken --out page.html
fails 1 "no/such/page.html" report whole --out no/such/page.html
fails 1 "--out is empty" report whole --out ""
fails 2 "RUN" report --out page.html
fails 2 "--out FILE or --json" report whole
exit 0
