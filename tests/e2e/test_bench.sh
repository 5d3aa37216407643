# hydralm bench: every face, what may be asked, refusals.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config >tiny.yaml
ok init --config tiny.yaml --out model --seed 1
bench() { ok bench --config tiny.yaml --threads 2 --runs 2 --tokens 40 "$@"; }

# ---- faces
bench -v
for word in "prefill fp32, 1 x 40" "decode fp32, 1 x 40" "train fp32, 1 x 40" "share" "memory, triad" "product fp32" \
    "by part" "S  state space" "by kernel" ssd_backward adamw update; do
    [[ $out == *"$word"* ]] || die "the table lacks \"$word\""
done
[[ $said == *"decode fp32"* ]] || die "stderr does not say what is measured"
is "$(awk 'length > 100' stdout)" "" "lines of more than 100 columns"
bench --json --quiet --csv rows.csv
is "$said" "" "--quiet"
[ "$(wc -l <stdout)" = 1 ] || die "--json is more than a line"
for key in cpu cores memory_bytes isa commit tokens_per_s peak_bytes flops_per_s bytes_per_s of_dense of_stream \
    dense_flops_per_s triad_bytes_per_s; do
    [ -n "$(field $key)" ] || die "the JSON lacks \"$key\""
done
is "$(wc -l <rows.csv)" 4 "lines of a new table"
ok bench --model model --runs 1 --warm-up 0 --tokens 5,40 --what prefill,kernels --dtype fp32,bf16 --batch 3 --csv rows.csv
is "$(grep -c '^cpu,' rows.csv)" 1 "heads of a table"
is "$(awk -F, '{ print NF }' rows.csv | sort -u | wc -l)" 1 "columns of all lines"
grep -q ',prefill,bf16,3,5,,S,ssd,' rows.csv || die "no line for a kernel"
ok bench --model model --runs 1 --tokens 40 --dtype fp32,bf16 --what train,decode # weights in a file
bench --what kernels --backend ref --set model.layers=S
[[ $out == *"train fp32"* && $out != *prefill* ]] || die "kernels alone are not those of training"

# ---- refusals
refused() { fails 1 "$1" bench --config tiny.yaml "${@:2}"; }
fails 2 '"prefil", wanted some of train, prefill, decode and kernels' bench --config tiny.yaml --what train,prefil
fails 2 "wanted some of fp32, bf16, int8 and int4" bench --config tiny.yaml --dtype int3
fails 2 "--tokens is 512,0, wanted 1 to 1000000000000000" bench --config tiny.yaml --tokens 512,0
refused "are free" --tokens 1000000 --batch 8
refused "train fp32, 60 x 1000000 tokens: " --what train --tokens 1000000 --batch 60
fails 2 "d_modle" bench --config tiny.yaml --set model.d_modle=3
refused "nowhere/rows.csv" --csv nowhere/rows.csv
refused "are free" --tokens 1000000 --batch 8 --csv new.csv
absent new.csv "a refused command"
: >kept.csv
refused "are free" --tokens 1000000 --batch 8 --csv kept.csv
[ -e kept.csv ] || die "an empty table that was there is gone"
for other in 'what,seconds' "$(head -n 1 rows.csv),more"; do
    echo "$other" >other.csv
    refused "other.csv is no table of bench" --csv other.csv
    is "$(cat other.csv)" "$other" "a table of other columns"
done
fails 2 "--config FILE or --model" bench
fails 2 "wanted" bench --config tiny.yaml --batch 0
fails 2 "wanted one" bench --config tiny.yaml --model model
fails 2 "--set and --model are both given" bench --model model --set train.batch=2
fails 1 "nowhere" bench --model nowhere
exit 0
