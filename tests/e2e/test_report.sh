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

# a number that one of two runs has goes by its name and in its colour, the second of the palette
ok report plain whole --out page.html
sed -n '/class="title">Dead experts/,/<\/figure>/p' page.html >figure
grep -q '>whole</text>' figure || die "a curve of one of two runs has no name"
grep -q 'class="hy-c2"' figure || die "a curve of the second run is not in its colour"
grep -q 'class="hy-c1"' figure && die "a curve of the second run is in the first one's colour"

# over tokens: a run of half the batch has half the tokens at the same step
ok train --config tiny.yaml --data one --seed 8 --threads 2 --out half --quiet --set train.batch=1
ok report plain half --x tokens --out page.html
page "over tokens" page.html ">tokens<"
sed -n '/class="title">Training loss/,/<\/figure>/p' page.html >figure
awk -F'"' '/<title>tokens: / { exit } { n++ } END { exit !n }' figure || die "nothing is drawn over tokens"
grep -o '<title>tokens: [0-9]*' figure | cut -d' ' -f2 | sort -n >at
tokens=$(tail -n 1 half/metrics.jsonl | grep -oE '"tokens":[0-9]+' | cut -d: -f2)
grep -qx "$tokens" at || die "the end of the shorter run is not drawn at its $tokens tokens: $(xargs <at)"
ok report plain --x time --out page.html
page "over time" page.html ">time<"
fails 2 '--x is "epochs", wanted steps, tokens or time' report plain --x epochs --out page.html
echo '{"step": 1, "loss": 2}' >bare.jsonl
fails 1 "bare.jsonl does not say its tokens" report bare.jsonl --x tokens --out page.html

# steps that were dropped, and what ended the stages
{
    echo '{"step":1,"tokens":10,"loss":2,"stage":"one"}'
    echo '{"step":2,"tokens":10,"loss":null,"unsound":"the loss is not a number","dropped":1,"stage":"one","stage_end":"val_loss"}'
    echo '{"step":3,"tokens":20,"loss":1e308,"dropped":1,"stage":"two","grad_norm":-1e308,"lr":1e-320,"stage_end":"ééééééééé"}'
} >odd.jsonl
ok report odd.jsonl --out page.html --json
page "dropped steps" page.html "Steps that were dropped" "the loss is not a number" "its held-out loss"
is "$(field dropped)/$(field end)" '1/"val_loss"' "dropped steps"
grep -q '"name":"two"' <<<"$out" || die "a stage whose end is cut within a letter is left out: $out"

# A letter that comes on at step 61 of 120: its figures have the axis of all others, and nothing before it.
for ((i = 1; i <= 120; i++)); do
    if [ $i -gt 60 ]; then e='0.5},"E":{"entropy":0.9}'; else e='0}'; fi
    echo "{\"step\":$i,\"loss\":2,\"layers\":\"SE\",\"grad_norms\":{\"E\":$e}"
done >late.jsonl
ok report late.jsonl --out page.html
sed -n '/E: routed experts/,$p' page.html >part
for title in "Norm of its gradient" Evenness; do
    sed -n "/class=\"title\">$title/,/<\/figure>/p" part >figure
    first=$(grep -oE '<title>step: [0-9]+' figure | grep -oE '[0-9]+' | sort -n | head -n 1)
    [ "$first" -ge 61 ] || die "$title begins at step $first, before its letter is on"
    grep -q '>20</text>' figure || die "$title has another axis than the page"
done

# names: of a folder given as ".", of no UTF-8, of markup, long ones
(cd whole && "$hydralm" report . --out ../page.html --quiet) || die "a run given as ."
page "a run given as ." page.html "Training of whole"
name=$(printf 'caf\351<script>alert(1)</script>&"`%0200d' 7)
mkdir -p "$name" && cp whole/metrics.jsonl "$name"
ok report "$name" whole --json --out page.html
is "$(grep -o '"path"' <<<"$out" | wc -l)" 2 "runs in the summary"
page "an odd name" page.html "caf?&lt;script&gt;alert(1)" "overflow-wrap:anywhere"

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
cp whole/metrics.jsonl before
fails 1 "whole/metrics.jsonl is no HTML page, and stays as it is" report whole --out whole/metrics.jsonl
cmp whole/metrics.jsonl before || die "a report replaced what it was drawn from"
fails 2 "--out is empty" report whole --out ""
fails 2 "RUN" report --out page.html
fails 2 "--out FILE or --json" report whole
exit 0
