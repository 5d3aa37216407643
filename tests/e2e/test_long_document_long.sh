# A document of a million tokens is trained on from its first to its last with the state carried (truncated
# backpropagation), in the memory that one of 16K tokens takes: nothing grows with the document.
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tests/e2e/lib.sh"
for i in 1 2 3 4; do cat "$root"/src/*/*.[ch] "$root"/src/backend/*/*.[ch]; done | head -c 1048577 >long.txt
is "$(stat -c %s long.txt)" 1048577 "bytes of the long document"
head -c 16385 long.txt >short.txt

peak() { # peak NAME STEPS: once over the document, one token a byte
    ok train --config "$root/configs/nano.yaml" --data $1.txt --out $1 --steps $2 --json --quiet \
        --set train.batch=1 --set train.val_fraction=0 --set train.save_every=0 --set train.lr=1e-3
    is "$(field tokens)" $((512 * $2)) "tokens of $1.txt that were predicted"
    peak=$(field peak_rss_bytes)
}
peak short 32
least=$peak
peak long 2048
# the text itself is mapped, and its pages are counted while they are in memory
awk -v a="$least" -v b="$peak" 'BEGIN {
    printf "peak memory: %.1f MB for 16K tokens, %.1f MB for 1M tokens\n", a / 1e6, b / 1e6
    exit !(b <= 1.05 * a + 1048577)
}' || die "memory grew with the document: $least and $peak bytes"
