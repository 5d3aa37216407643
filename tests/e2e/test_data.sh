# data build, data inspect, and training on what they make: the same tokens and the same training as
# from the text itself, whatever the packing; damage and a build that was cut off are told.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config >tiny.yaml
mkdir text
for i in 1 2 3 4 5 6; do some_text $((10 * i)) >text/$i.txt; done
build() { ok data build "$@" --tokenizer bytes --quiet --json; }
refused() { # refused TEXT ARGS…: no folder, and none begun
    local text=$1
    shift
    fails 1 "$text" data build "$@" --tokenizer bytes --out x --quiet
    absent x "a refused build"
    absent x.building "a refused build"
}
print_of() { ok data inspect "$1" --json && field fingerprint; }

# ---- what comes out does not depend on threads or packing
build text --out a --threads 1
is "$(field documents)" 6 "documents of six files"
is "$(field split)" '"tail"' "six documents are few"
build text --out b --threads 2
for f in a/*; do same "$f" "b/${f#a/}" "one thread and two"; done
cp -r text packed
if command -v gzip >/dev/null; then gzip packed/1.txt packed/4.txt; fi
if command -v zstd >/dev/null; then zstd -q --rm packed/2.txt packed/5.txt; fi
build packed --out c
same a/tokens-00000.bin c/tokens-00000.bin "packed files"
same a/hydralm-data.json c/hydralm-data.json "packed files"
mkdir some some/deeper
cp text/[1-5].txt some
cp text/6.txt some/deeper
echo '<svg/>' >some/figure.svg
build 'some/[0-9]*.txt' --out like
for f in a/*; do same "$f" "like/${f#a/}" "files of a pattern"; done
fails 1 'some/*.md: no file there has a name like *.md' data build 'some/*.md' --tokenizer bytes --out x
cat text/*.txt >all.txt
build text --out s --shard-tokens 1024
cat s/tokens-*.bin | wc -c >size
is "$(($(cat size) - 128 * $(ls s/tokens-*.bin | wc -l)))" "$(wc -c <all.txt)" "bytes of the shards"

# ---- documents: separators, JSON lines, the split
printf 'one ||two||three ||||x||four' >parts.txt
build parts.txt --out parts --separator '||' --val-fraction 0
is "$(field documents)" 4 "documents between separators"
is "$(field too_short)" 1 "documents of one byte"
printf '{"text": "first \\u00e9\\n", "id": 1}\n\n{"id": 2, "text": "second"}\n{"text":"third"}' >lines.jsonl
build lines.jsonl --out lines --val-fraction 0
is "$(field documents)" 3 "JSON lines"
{ printf '\xef\xbb\xbf'; sed 's/$/\r/' lines.jsonl; } >marked.jsonl # as some programs write it
build marked.jsonl --out marked --val-fraction 0
same lines/tokens-00000.bin marked/tokens-00000.bin "JSON lines with a mark and other ends of lines"
is "$(tail -c +129 lines/tokens-00000.bin)" "$(printf 'first é\nsecondthird')" "the text of JSON lines"
for i in $(seq 400); do echo "{\"text\": \"document number $i, and more\"}"; done >many.jsonl
build many.jsonl --out many
is "$(field split)" '"documents"' "four hundred documents"
seq 401 600 | sed 's/.*/{"text": "document number &, and more"}/' >more.jsonl
build many.jsonl more.jsonl --out grown
held() { # the texts that a folder holds out
    od -An -v -t d8 -w16 -j 128 "$1/val.bin" | while read -r start len; do
        tail -c +$((129 + start)) "$1/tokens-00000.bin" | head -c "$len"
        echo
    done
}
held many >held.many
held grown | head -n "$(wc -l <held.many)" >held.grown
same held.many held.grown "what is held out, after files were added"
[ "$(wc -l <held.many)" -gt 15 ] || die "only $(wc -l <held.many) of 400 documents are held out"

# ---- inspect
ok data inspect a --verify
grep -q 'all checksums are right' <<<"$out" || die "inspect --verify said: $out"
ok data inspect a --json --verify
is "$(field verified)" true "verified"
is "$(field vocab)" 256 "the vocabulary"

# ---- training: the folder and the text, bit for bit
train() { ok train --config tiny.yaml --seed 7 --threads 2 --quiet "$@"; }
train --data text --out from-text
train --data a --out from-built
same from-text/model.safetensors from-built/model.safetensors "training on text and on built data"
train --data a --out from-built --resume --steps 14 --set train.steps=14
train --data text --out from-text --resume --steps 14 # the same data by their fingerprint
same from-text/model.safetensors from-built/model.safetensors "resuming on either"
fails 1 "wanted the same data" train --config tiny.yaml --seed 7 --data many --out from-built --resume --quiet
# mixtures: killed after a checkpoint and resumed, weights are part of the data's identity
mix() { train --data a:0.7 many:0.3 "$@"; }
mix --out mixed
sed 's/steps: 12/steps: 12, save_every: 5/' tiny.yaml >saving.yaml
: >log
"$hydralm" train --config saving.yaml --data a:0.7 many:0.3 --seed 7 --threads 2 --out part -v 2>log >/dev/null &
pid=$!
until grep -q saved log; do kill -0 $pid 2>/dev/null || break; sleep .02; done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
ok train --config saving.yaml --data a:7 many:3 --seed 7 --threads 2 --out part --resume --quiet
same mixed/model.safetensors part/model.safetensors "a killed mixture, resumed"
fails 1 "wanted the same data" train --config tiny.yaml --seed 7 --data a:0.5 many:0.5 --out mixed --resume --quiet
train --data a many text --out t # without weights: two folders and text
fails 1 'has a weight and "many" has none' train --config tiny.yaml --data a:0.7 many --out x --quiet
fails 1 'wanted a number above 0' train --config tiny.yaml --data a:0 --out x --quiet
fails 1 'a:0.7x: No such file' train --config tiny.yaml --data a:0.7x --out x --quiet
cp -r text odd:2
train --data odd:2 --out t --force # a folder of that name is no weight
absent x "a refused training"

# ---- byte-level BPE: the tokens of each whole document, over blocks too; one tokenizer for all
ok tokenizer train text --vocab 300 --out bpe.json
some_text 18000 >long.txt # more than one block
ok tokenizer encode --tokenizer bpe.json --count --json long.txt
tokens=$(field tokens)
ok data build long.txt --tokenizer bpe.json --out bpe --quiet --json
is "$(field tokens)" "$tokens" "tokens of a text that is longer than a block"
is "$(field token_bytes)" 2 "bytes of a token of 300"
ok tokenizer encode --tokenizer bpe.json long.txt
cp stdout ids
od -An -v -t u2 -w2 -j 128 bpe/tokens-00000.bin | tr -d ' ' >built.ids
tr -s ' \n' '\n' <ids >whole.ids
same whole.ids built.ids "ids of a text that is longer than a block"
wide="--set model.vocab=300"
train $wide --data bpe --out bpe-model
same bpe-model/tokenizer.json bpe/tokenizer.json "the model's tokenizer"
train $wide --data bpe text --tokenizer bpe.json --out bpe-model --force
fails 1 "wanted at least the tokenizer's 300" train --config tiny.yaml --data bpe --out x --quiet
fails 1 "many was built with another tokenizer (vocabulary 256) than the one in use (vocabulary 300)" \
    train --config tiny.yaml $wide --data bpe many --out x --quiet
fails 1 "bpe was built with another tokenizer" train --config tiny.yaml $wide --data bpe \
    --tokenizer bytes --out x --quiet
absent x "a training with two tokenizers"

# ---- where to write
fails 1 "already holds built data" data build text --tokenizer bytes --out a --quiet
build text/1.txt --out a --force
is "$(field documents)" 1 "a folder that was replaced"
absent a.building "a build"
absent a.replaced "a build"
echo mine >b/notes.txt
fails 1 "b holds other things (notes.txt)" data build text --tokenizer bytes --out b --force --quiet
mkdir empty
build text --out empty
fails 1 "but must be a folder" data build text --tokenizer bytes --out tiny.yaml --quiet
for out in . .. a/. /; do
    fails 1 'is not the name of a folder to make' data build text --tokenizer bytes --out "$out" --quiet
done
fails 2 "--out is empty, wanted DIR" data build text --tokenizer bytes --out ""
fails 2 "wanted auto, documents or tail" data build text --tokenizer bytes --out x --split half
fails 1 "holds built data, wanted text" data build c --tokenizer bytes --out x --quiet
mkdir d.building && echo junk >d.building/tokens-00007.bin # of a build that was killed
build text --out d
[ ! -e d/tokens-00007.bin ] || die "what a killed build left became part of the next"
mkdir -p e.building/sub && echo mine >e.building/sub/notes.txt
fails 1 "e.building holds other things (sub)" data build text --tokenizer bytes --out e --quiet
is "$(cat e.building/sub/notes.txt)" mine "a folder of the name that a build would take"
absent e "a build beside a folder of that name"
mkdir own && echo '{}' >own/tokenizer.json # of a name that a build writes, but of no build
fails 1 "own holds other things (tokenizer.json)" data build text --tokenizer bytes --out own --quiet
is "$(cat own/tokenizer.json)" '{}' "a tokenizer that no build wrote"

# ---- a build that ends early leaves nothing that looks whole
mkfifo pipe
some_text 5 >some.txt
fails 1 "cannot open missing.txt" data build pipe missing.txt --tokenizer bytes --out x --quiet
"$hydralm" data build some.txt pipe --tokenizer bytes --out killed --quiet &
pid=$!
exec 3>pipe # the build waits for more
is "$(cat /proc/$pid/comm)" hydralm "the name that ps and pkill know"
kill -9 $pid
wait $pid 2>/dev/null
exec 3>&-
absent killed "a killed build"
fails 1 "has no hydralm-data.json" data inspect killed.building
build text --out killed
absent killed.building "the build after a killed one"
"$hydralm" data build some.txt pipe --tokenizer bytes --out stopped --quiet 2>log &
pid=$!
exec 3>pipe
while [ ! -d stopped.building ]; do sleep .02; done
fails 1 "another build is writing to stopped" data build text --tokenizer bytes --out stopped --quiet
kill -INT $pid
exec 3>&-
wait $pid
is $? 1 "the status of a stopped build"
absent stopped "a stopped build"
absent stopped.building "a stopped build"
(
    trap '' XFSZ
    ulimit -f 4
    "$hydralm" data build text --tokenizer bytes --out full --quiet >stdout 2>stderr
)
is $? 1 "the status on a full disk"
grep -q "cannot write full.building/tokens-00000.bin: File too large" stderr || die "a full disk: $(cat stderr)"
absent full "a full disk"
absent full.building "a full disk"
(
    trap '' XFSZ
    ulimit -f 4
    "$hydralm" train --config tiny.yaml --data text --out full --quiet >stdout 2>stderr
)
grep -q "cannot write the temporary file" stderr || die "a full disk while training: $(cat stderr)"

# ---- bad input
refused "missing.txt" missing.txt
: >nothing.txt
refused "nothing.txt is empty" nothing.txt
head -c 5000 "$hydralm" >binary.bin
refused "binary.bin is not text" binary.bin
printf 'na\xefve caf\xe9' >latin1.txt
refused "latin1.txt is not text: more than one byte in a hundred" latin1.txt
mkdir hollow
refused "nothing to train on" hollow
cp binary.bin hollow/
refused "1 files passed over" hollow
{ cat many.jsonl; echo '{"text": "cut'; } >broken.jsonl
refused "broken.jsonl:401: not valid JSON" broken.jsonl
build broken.jsonl --out t2 --skip-broken
is "$(field broken_lines)" 1 "broken lines"
{ echo '{"text": "fine"}'; echo '{"txet": "lost"}'; } >field.jsonl
refused 'field.jsonl:2: it has no field "text"' field.jsonl
printf '{"text": "caf\xe9"}\n' >bytes.jsonl
refused 'bytes.jsonl:1: not valid JSON' bytes.jsonl
echo '[1]' >list.jsonl
refused 'list.jsonl:1: it is no JSON object' list.jsonl
fails 2 '--separator has \x' data build text --tokenizer bytes --out x --separator '\x'
fails 2 "wants PATH" data build --tokenizer bytes --out x
fails 2 "wants --tokenizer" data build text --out x
fails 1 "nowhere.json" data build text --tokenizer nowhere.json --out x --quiet
fails 2 "build" data biuld
if command -v gzip >/dev/null; then
    gzip -k all.txt
    head -c -20 all.txt.gz >short.txt.gz
    refused "short.txt.gz is not whole gzip data: it ends too early" short.txt.gz
    cp all.txt plain.txt.gz
    refused "plain.txt.gz is not whole gzip data" plain.txt.gz
fi
if command -v zstd >/dev/null; then
    zstd -q -k all.txt
    head -c -20 all.txt.zst >short.txt.zst
    refused "short.txt.zst is not whole zstd data" short.txt.zst
    cp all.txt plain.txt.zst
    refused "plain.txt.zst is not whole zstd data" plain.txt.zst
fi

# ---- damage
damaged() { # damaged TEXT: opening the folder says TEXT
    fails 1 "$1" data inspect e
    fails 1 "$1" train --config tiny.yaml --data e --out x --quiet
    absent x "training on damaged data"
    rm -rf e
    cp -r c e
}
flip() { printf '\xff' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }
cp -r c e
flip e/tokens-00000.bin 1000
ok data inspect e
fails 1 "e/tokens-00000.bin is damaged: its content has the checksum" data inspect e --verify
fails 1 "e/tokens-00000.bin is damaged: its content has the checksum" train --config tiny.yaml \
    --data e --out x --quiet
absent x "training on damaged tokens"
train --data e --out x --no-verify # a token as good as any
rm -r x
rm -rf e
cp -r c e
flip e/tokens-00000.bin 40
damaged "e/tokens-00000.bin has a damaged header"
truncate -s -1 e/tokens-00000.bin
damaged "e/tokens-00000.bin is cut short"
truncate -s 100 e/tokens-00000.bin
damaged "e/tokens-00000.bin is not a file of hydralm data"
rm e/val.bin
damaged "e/val.bin"
flip e/train.bin 140
damaged "e/train.bin is damaged"
cp s/tokens-00000.bin e/tokens-00000.bin
damaged "does not belong to the other files"
cp many/train.bin e/train.bin
damaged "does not belong to the other files"
echo '{}' >e/hydralm-data.json
damaged "e/hydralm-data.json is not the index"
sed -i 's/"version": 1/"version": 2/' e/hydralm-data.json
damaged "has version 2"
ok data inspect c --verify
for size in 20 0; do # cut short, empty
    truncate -s $size e/tokenizer.json
    fails 1 "e/tokenizer.json" data inspect e --verify
done
cp bpe.json e/tokenizer.json
ok data inspect e
fails 1 "e/tokenizer.json is another one than made these data: its fingerprint is" data inspect e --verify
rm e/tokenizer.json
fails 1 "e/tokenizer.json" data inspect e --verify
fails 1 "e/tokenizer.json" train --config tiny.yaml --data e --out x --quiet
exit 0
