# What int8 and int4 cost: a model of every letter, trained on text, loses at most 0.5% and 3% of its bits per
# byte on the tenth of the text that it has not seen. Three seeds, so that no single draw decides; the text is
# tinyshakespeare where it lies beside the repository, else the program's own source.
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tests/e2e/lib.sh"
text=$root/../shared/data/tinyshakespeare.txt
if [ ! -r "$text" ]; then
    cat "$root"/src/*/*.c "$root"/src/backend/cpu/*.c >source.txt
    text=source.txt
fi
size=$(stat -Lc %s "$text")
tail -c $((size / 10)) "$text" >held-out.txt

bits() { # of model $1, in $bits
    ok eval --model "$1" --data held-out.txt --json
    bits=$(field bits_per_byte)
}
costs() { # costs FORMAT MOST: at most so many percent more than fp32
    bits $1
    awk -v q="$bits" -v w="$whole" -v most="$2" -v what="seed $seed, $1" 'BEGIN {
        more = 100 * (q / w - 1)
        printf "%s: %.4f bits per byte, %+.3f%% on %.4f\n", what, q, more, w
        exit !(more <= most)
    }' || die "$1 costs more than $2%"
}

for seed in 1 2 3; do
    ok train --config "$root/configs/nano.yaml" --data "$text" --steps 200 --seed $seed \
        --set train.eval_every=0 --out m --force --quiet
    bits m
    whole=$bits
    awk -v b="$whole" 'BEGIN { exit !(b < 3) }' || die "the model has learnt nothing: $whole bits per byte"
    for format in int8 int4; do
        rm -rf $format
        ok convert --from m --out $format --quantize $format --quiet
    done
    costs int8 0.5
    costs int4 3
done
exit 0
