# Whatever is wrong with the input: one sentence that names it, status 1, nothing half-written.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config >tiny.yaml
some_text 20 >text.txt
ok init --config tiny.yaml --out m --seed 1
train() { ok train --config tiny.yaml --data text.txt --threads 1 --steps 2 "$@"; }
refused() { fails 1 "$@" --out x && absent x "a refused command"; }

# ---- configurations
refused "nowhere.yaml" init --config nowhere.yaml
refused "tiny.yaml/below" init --config tiny.yaml/below
edit() { sed "$1" tiny.yaml >bad.yaml; }
edit 's/d_model/d_modle/'
refused "d_modle" init --config bad.yaml
edit 's/^ssm/ssn/'
refused "ssn" init --config bad.yaml
edit 's/SE A WP F/SE A (WP F/'
refused "^" init --config bad.yaml
edit 's/SE A WP F/SE X/'
refused "X" init --config bad.yaml
edit 's/SE A WP F/999999999x(S)/'
refused "layers" init --config bad.yaml
edit 's/SE A WP F/ /'
refused "layers" init --config bad.yaml
edit 's/vocab: 256/vocab: 100/'
refused "model.vocab" init --config bad.yaml
edit 's/k: 2, expert_chunk/k: 9, expert_chunk/'
refused "experts" init --config bad.yaml
edit 's/d_model: 32/d_model: many/'
refused "d_model" init --config bad.yaml
printf '\xff\xfe\x00{{{' >bad.yaml
refused "bad.yaml" init --config bad.yaml
: >bad.yaml
"$hydralm" init --config bad.yaml --out x >stdout 2>stderr
[ $? -le 1 ] || die "an empty configuration crashed"
rm -rf x

# ---- text
data() { refused "$1" train --config tiny.yaml --data "$2"; }
: >empty.txt
data "empty.txt" empty.txt
head -c 5000 "$hydralm" >binary.bin
data "binary.bin" binary.bin
data "missing.txt" missing.txt
data "text.txt/below" text.txt/below
fails 1 "missing.txt" train --config tiny.yaml --data missing.txt --out a/b/c
absent a "a refused training, the folders above its own"
mkdir there
fails 1 "missing.txt" train --config tiny.yaml --data missing.txt --out there/
[ -d there ] || die "a refused training removed a folder that it did not make"
mkdir hollow
data "nothing to train on" hollow
fails 1 "empty.txt" eval --model m --data empty.txt
fails 1 "missing.txt" eval --model m --data missing.txt
printf x >one.txt
fails 1 "one.txt" eval --model m --data one.txt
mkfifo pipe
cat one.txt >pipe &
fails 1 "pipe" eval --model m --data pipe
cat text.txt >pipe &
ok eval --model m --data pipe
fails 1 "hollow has no document" eval --model m --data hollow
fails 1 "binary.bin is not text" eval --model m --data binary.bin
data "/dev/zero is a device" /dev/zero
fails 1 "/dev/zero is a device" eval --model m --data /dev/zero
printf 'ab\0c' >nul.txt
data "nul.txt" nul.txt
refused "and at most" train --config tiny.yaml --data text.txt --quiet --set train.carry=false \
    --set train.batch=1024 --set train.seq_len=16384

# ---- where to write
printf 'a file' >file
fails 1 "file/m" init --config tiny.yaml --out file/m
fails 1 "file" init --config tiny.yaml --out file
fails 1 "file/m" train --config tiny.yaml --data text.txt --out file/m --quiet
is "$(cat file)" "a file" "a file that stands where a folder should"

# ---- model directories
broken() { # broken TEXT: after damage to b, all that open it say TEXT
    fails 1 "$1" inspect b
    fails 1 "$1" generate --model b --prompt x
    fails 1 "$1" eval --model b --data text.txt
    rm -rf b
    cp -r m b
}
fails 1 "nowhere" inspect nowhere
cp -r m b
truncate -s -1 b/model.safetensors
broken "model.safetensors"
truncate -s 4 b/model.safetensors
broken "model.safetensors"
: >b/model.safetensors
broken "model.safetensors"
rm b/model.safetensors
broken "model.safetensors"
printf '\xff\xff\xff\xff\xff\xff\xff\x7f' | dd of=b/model.safetensors conv=notrunc status=none
broken "model.safetensors"
sed -i 's/backbone.norm_f.weight/backbone.norm_x.weight/' b/model.safetensors
broken "norm_"
rm b/model.safetensors
mkfifo b/model.safetensors # nobody writes to it: opening it must not wait
broken "model.safetensors is not a regular file"
printf 'put ../x\nend\n' >b/.hydra-commit
broken ".hydra-commit is not a journal"
rm b/config.json
broken "config.json"
echo '{"model_type": "hydra", "model": {"layers": "S", "widht": 3}}' >b/config.json
broken "b/config.json: "
echo '{"model_type": "hydra"' >b/config.json
broken "config.json"
sed -i 's/"d_model": 32/"d_model": 64/' b/config.json
broken "config.json"
sed -i 's/"model_type": "hydra"/"model_type": "llama"/' b/config.json
broken "llama"
echo 'not json' >b/tokenizer.json
broken "tokenizer.json"
# One weight is NaN: refused where a token is to be chosen and where a loss is reported.
size=$(wc -c <b/model.safetensors)
printf '\x00\x00\xc0\x7f' | dd of=b/model.safetensors bs=1 seek=$((size - 8)) conv=notrunc status=none
"$hydralm" generate --model b --prompt x --max-tokens 4 >stdout 2>stderr
[ $? -le 1 ] || die "a NaN in the weights crashed: $(cat stderr)"
rm -rf b
cp -r m b
head -c $((size - 40000)) m/model.safetensors >b/model.safetensors
for ((i = 0; i < 10000; i++)); do printf '\x00\x00\xc0\x7f'; done >>b/model.safetensors
for how in "" --json; do fails 1 "weights are broken" eval --model b --data text.txt $how; done
fails 1 "weights or its input are broken" generate --model b --prompt x
rm -rf b
# A folder that may not be searched is not one without a model.
if [ "$(id -u)" -eq 0 ] && chmod 755 . &&
    setpriv --reuid=65534 --clear-groups "$hydralm" --version >stdout 2>&1; then
    cp -r m b
    chmod 700 b
    setpriv --reuid=65534 --clear-groups "$hydralm" inspect b >stdout 2>stderr
    is $? 1 "a folder without permission"
    grep -q "b/.*Permission denied" stderr || die "a folder without permission: $(cat stderr)"
    rm -rf b
fi

# ---- checkpoints
train --out t
cp -r t good
damaged() { # damaged TEXT: --resume refuses, the files stay as they are
    cp t/model.safetensors before
    fails 1 "$1" train --config tiny.yaml --data text.txt --threads 1 --out t --resume --steps 4 --quiet
    same t/model.safetensors before "a refused resumption"
    rm -rf t
    cp -r good t
}
truncate -s 1000 t/training.safetensors
damaged "training.safetensors"
rm t/training.safetensors
damaged "training.safetensors"
echo '{}' >t/training.json
damaged "training.json"
echo '{"step": -5' >t/training.json
damaged "training.json"
# As if its checksum were right.
unlisted() { sed -i -z 's/,[^,]*"training.json": "[^"]*"//' t/checksums.json; }
sed -i 's/"slots": [0-9]*/"slots": 999999999999/' t/training.json
unlisted
damaged "t/training.json: stream 0 of 999999999999 slots"
sed -i 's/"pos": [0-9]*/"pos": -7/' t/training.json
unlisted
damaged "stream 0"

# ---- a full disk, played by a limit on the size of files (blocks of 1024 bytes)
full() { # full COMMAND…: fails with a sentence
    (
        trap '' XFSZ
        ulimit -f 100
        "$hydralm" "$@" >stdout 2>stderr
    )
    local got=$?
    [ $got -eq 1 ] || die "hydralm $* on a full disk ended with $got: $(cat stderr)"
    [ -s stderr ] || die "hydralm $* on a full disk said nothing"
}
[ "$(wc -c <m/model.safetensors)" -gt 110000 ] || die "the model is too small for this test"
full init --config tiny.yaml --out full
absent full/model.safetensors "a full disk"
absent full/config.json "a full disk"
cp t/model.safetensors before
full train --config tiny.yaml --data text.txt --threads 1 --out t --resume --steps 4 --quiet
same t/model.safetensors before "a full disk"
[ -z "$(find t full -name '.hydra*' -o -name '*.tmp*' 2>/dev/null)" ] || die "a full disk left: $(ls -A t full)"
train --out t --resume --steps 4
head -c 200 text.txt >few.txt
{ printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "{'descr': '|u1', 'fortran_order': False, 'shape': (200,), }"
  cat few.txt; } >tokens.npy
full logits --model m --tokens tokens.npy --out logits.npy
absent logits.npy "a full disk"
[ -z "$(ls -A | grep logits)" ] || die "a full disk left $(ls -A | grep logits)"
ok logits --model m --tokens tokens.npy --out logits.npy
exit 0
