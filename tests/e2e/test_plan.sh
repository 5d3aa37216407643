# hydralm plan: its faces agree, docs/accounting.md is what it writes, and bad input gets a sentence.
. "$(dirname "$0")/lib.sh" "$1"
configs=$OLDPWD/configs
docs=$OLDPWD/docs

# ---- faces
ok plan "$configs/hydra-1.6b.yaml"
text=$out
for word in Parameters "FLOPs for each token" "grows with T^2" "Memory of training" "Time, at best" \
    "What fits into memory" h200 transformer mamba2 "bytes of the state"; do
    [[ $text == *"$word"* ]] || die "the table lacks \"$word\""
done
awk 'length > 100 { exit 1 }' <<<"$text" || die "the table is wider than 100 columns"
ok plan "$configs/hydra-1.6b.yaml" --json
is "$(field parameters)" 1596836691 "parameters of the design envelope"
[ "$(wc -l <stdout)" = 1 ] || die "--json is more than a line"
ok plan "$configs/nano.yaml" --html page.html
[[ $out == *Parameters* ]] || die "--html replaces the table"
for word in "<!DOCTYPE html>" "<svg" "</html>" "FLOPs for each token read" "Where the peak rates come from"; do
    grep -qF "$word" page.html || die "the page lacks \"$word\""
done
grep -qE 'src=|href="http|<script|@import|url\(' page.html && die "the page asks for something else"

# ---- what may be asked
ok plan "$configs/nano.yaml" --json --lengths 100,5000 --dtype fp32 --sequences 3 --devices 2 \
    --hardware "peak=1T,bandwidth=50G,memory=16G,name=mine" --hardware "RTX 4090" --train-tokens 1e9 \
    --against "$configs/toy.yaml" --document 2000 --set train.batch=2
is "$(grep -o '"name":"mine"' <<<"$out")" '"name":"mine"' "described hardware"
[[ $out == *'"name":"rtx-4090"'* && $out == *'"name":"toy"'* ]] || die "names are missing"
is "$(field batch)" 2 "--set train.batch"
ok plan "$configs/nano.yaml" --json --against none --set model.layers=S
[[ $out == *'"against":[]'* ]] || die "none is not none"
tiny_config >tiny.yaml
ok init --config tiny.yaml --out model --seed 1
ok plan model --json
is "$(field parameters)" "$("$hydralm" inspect model --json | grep -o '"parameters":[0-9]*' | head -1 | cut -d: -f2)" \
    "a model's directory"


# ---- odd models and names are planned all the same
ok plan "$configs/nano.yaml" --set model.layers=F --set model.d_model=1 # of which there is no Mamba-2
ok plan "$configs/nano.yaml" --set pkm.n_head=64 --set pkm.topk=128 --set pkm.n_key=128 # one batch of 1M is too large
ok plan "$configs/nano.yaml" --lengths 1,100000000
long=$(printf 'ä%.0s' {1..100})
cp tiny.yaml "$long.yaml"
ok plan "$long.yaml" --json
is "$(field name)" "\"${long:0:63}\"" "a long name"
cp tiny.yaml "$(printf 'a\xffb.yaml')"
ok plan "$(printf 'a\xffb.yaml')" --json
is "$(field name)" '"a?b"' "a name that is no UTF-8"

# ---- docs/accounting.md
ok plan "$configs" --markdown
cmp -s stdout "$docs/accounting.md" ||
    die "docs/accounting.md is stale; write it: hydralm plan configs --markdown > docs/accounting.md"

# ---- refusals
fails 2 "wants CONFIG" plan
fails 1 "nowhere.yaml" plan nowhere.yaml
fails 1 "--markdown alone" plan "$configs"
fails 1 "--markdown alone" plan "$configs" --markdown --json
fails 1 "no mamba2" plan tiny.yaml --set model.layers=F --set model.d_model=1 --against mamba2
fails 2 "--html is empty" plan tiny.yaml --html=
fails 2 "UTF-8" plan tiny.yaml --hardware "name=$(printf 'a\xff'),peak=1T,bandwidth=1G,memory=1G"
mkdir empty
fails 1 "no configuration" plan empty --markdown
fails 2 "h100" plan tiny.yaml --hardware h10
fails 2 "peak=" plan tiny.yaml --hardware abacus
fails 2 "bandwidth" plan tiny.yaml --hardware peak=1T
fails 2 "wanted fp32, bf16, int8 or int4" plan tiny.yaml --dtype int3
fails 2 "rising" plan tiny.yaml --lengths 100,50
fails 2 "wanted 1 to 1000000000000000" plan tiny.yaml --lengths 0,50
fails 1 "wanted at least one and at most" plan tiny.yaml --lengths 99000000000
fails 1 "in a micro-batch of this model" plan tiny.yaml --set train.batch=65536 --set train.seq_len=16777216
fails 2 "d_modle" plan tiny.yaml --set model.d_modle=3
fails 2 "section.key=value" plan tiny.yaml --set batch
fails 1 "experts" plan tiny.yaml --set experts.k=9
fails 1 "nowhere.yaml" plan tiny.yaml --against nowhere.yaml
fails 2 "wanted" plan tiny.yaml --sequences 0
fails 2 "wanted" plan tiny.yaml --devices -1
fails 1 "page.html" plan tiny.yaml --html empty/nowhere/page.html
cp tiny.yaml before.yaml
fails 1 "tiny.yaml is no HTML page, and stays as it is" plan tiny.yaml --html tiny.yaml
same tiny.yaml before.yaml "a configuration that was named as the page"
fails 2 "did you mean --hardware?" plan tiny.yaml --hardwear h100
"$hydralm" plan tiny.yaml >/dev/full 2>stderr
is $? 1 "a full stdout"
exit 0
