# generate: same seed, same text; greedy; stop strings; ends; saved sessions; the experts' controls.
. "$(dirname "$0")/lib.sh" "$1"
tiny_config >tiny.yaml
ok init --config tiny.yaml --out m --seed 5
gen() { ok generate --model m --prompt "The fox" "$@"; }

gen --seed 1 --max-tokens 40
cp stdout one
gen --seed 1 --max-tokens 40
same stdout one "same seed"
gen --seed 2 --max-tokens 40
differ stdout one "another seed"
gen --seed 1 --max-tokens 40 --threads 1
same stdout one "another number of threads"
gen --temperature 0 --max-tokens 40
cp stdout greedy
gen --temperature 0 --seed 9 --max-tokens 40
same stdout greedy "greedy does not depend on the seed"
gen --top-k 1 --max-tokens 40
same stdout greedy "top-k 1 is greedy"
gen --top-p 1e-9 --max-tokens 40
same stdout greedy "a tiny top-p is greedy"
gen --min-p 1 --max-tokens 40
same stdout greedy "min-p 1 is greedy"
iconv -f UTF-8 -t UTF-8 one >/dev/null 2>&1 || die "the text is not valid UTF-8"

gen --seed 1 --max-tokens 40 --json
is "$(field tokens)" 40 "tokens"
is "$(field prompt_tokens)" 7 "prompt tokens"
is "$(field finish)" '"length"' "finish"
gen --seed 1 --max-tokens 40 --json --quiet
[ -z "$said" ] || die "--quiet says $said"

# A letter of the text as stop string: the text ends before it.
letter=$(tr -dc 'a-zA-Z' <one | tail -c 1)
[ -n "$letter" ] || die "the text has no letter to stop at: $(cat one)"
gen --seed 1 --max-tokens 40 --stop "$letter" --stop "neverseen"
is "$(cat stdout)" "$(sed "s/$letter.*//;/$letter/q" one | awk -v l="$letter" '{print}' ORS=)" "stop"
grep -q "$letter" stdout && die "a stop string was written"
gen --seed 1 --max-tokens 40 --stop "$letter" --json
is "$(field finish)" '"stop"' "finish"

# A byte of the vocabulary as end of text.
code=$(printf '%d' "'$letter")
echo "{\"eos_token_id\": [$code]}" >m/generation_config.json
gen --seed 1 --max-tokens 40 --json
is "$(field finish)" '"eos"' "finish at the end of text"
# What is no token, as a number beyond the vocabulary with that byte in its low bits, or too many.
for bad in "$((code + (1 << 32)))" 256 -1 "[$code, 256]" '"x"' "[1, null, 1.5]"; do
    echo "{\"eos_token_id\": $bad}" >m/generation_config.json
    fails 1 "m/generation_config.json: eos_token_id has " generate --model m --prompt x
done
echo '{"eos_token_id": [1, 2, 3, 4, 5, 6, 7, 8, 9]}' >m/generation_config.json
fails 1 "eos_token_id has 9 tokens, wanted at most 8" generate --model m --prompt x
echo '{"eos_token_id": null}' >m/generation_config.json
gen --seed 1 --max-tokens 40 --json
is "$(field finish)" '"length"' "no end of text"
rm m/generation_config.json

gen --seed 1 --max-tokens 40 --experts-k 1
differ stdout one "one expert"
gen --seed 1 --max-tokens 40 --experts-ban 0,1
differ stdout one "banned experts"
gen --seed 1 --max-tokens 40 --experts-temperature 0.01
differ stdout one "the router's temperature"
# Forcing two of four experts and banning the other two are the same choice.
gen --seed 1 --max-tokens 40 --experts-force 2,3
cp stdout forced
gen --seed 1 --max-tokens 40 --experts-ban 0,1
same stdout forced "forced and banned experts"
# A session saved half-way goes on as if it had not been interrupted: the same state, and the same
# text where the cut is not inside a character (of four cuts in a row, one is not).
half_way() { # half_way SAMPLING…
    gen "$@" --max-tokens 40 --save-session whole.session
    cp stdout whole
    local n clean=
    for n in 20 21 22 23; do
        gen "$@" --max-tokens $n --save-session part.session
        cp stdout part
        ok generate --model m --session part.session "$@" --max-tokens $((40 - n)) \
            --save-session part.session
        cat stdout >>part
        same part.session whole.session "the session after $n and $((40 - n)) tokens"
        cmp -s part whole && clean=1
    done
    [ -n "$clean" ] || die "no text in two parts is the text at once: $*"
}
half_way --temperature 0
half_way --seed 1 --temperature 1
ok generate --model m --session whole.session --prompt " and" --max-tokens 5 --json
is "$(field prompt_tokens)" 4 "prompt tokens after a session"
ok init --config tiny.yaml --out another --seed 6
fails 1 "another model" generate --model another --session whole.session
head -c 1000 whole.session >part.session
fails 1 "part.session" generate --model m --session part.session
fails 1 "is not a saved session" generate --model m --session m/model.safetensors
fails 1 "No such file" generate --model m --session missing
# What cannot be saved is said before the work; of the files that are there, a session replaces a session alone.
fails 1 "no/folder" generate --model m --prompt x --save-session no/folder
cp m/model.safetensors before
fails 1 "m/model.safetensors is no saved session, and stays as it is" \
    generate --model m --prompt x --save-session m/model.safetensors
same m/model.safetensors before "a model that was named as a session"

fails 1 "banned" generate --model m --prompt x --experts-ban 4
fails 1 "1 to 1" generate --model m --prompt x --experts-ban 0,1,2
fails 2 "says where alone" generate --model m --prompt x --experts-layer 1
fails 1 "wanted 1 to" generate --model m --prompt x --experts-layer 9 --experts-k 1
fails 1 "both banned and forced" generate --model m --prompt x --experts-ban 1 --experts-force 0,1
fails 1 "temperature" generate --model m --prompt x --experts-temperature 1e-300
fails 1 "prompt is empty" generate --model m --prompt ""
fails 2 "is empty" generate --model m --prompt x --stop ""

# A prompt of any length comes in a file or through a pipe, and may be read alone.
yes 'to be read' | head -c 300000 >long
ok generate --model m --prompt-file long --max-tokens 0 --save-session long.session --json
[[ $out == *'"text":"","finish":"length"'*'"tokens":0'* ]] || die "a prompt that is read alone: $out"
ok generate --model m --session long.session --max-tokens 8 --seed 3
behind=$out
"$hydralm" generate --model m --prompt-file /dev/stdin --max-tokens 8 --seed 3 <long >stdout 2>stderr || die "a prompt in a pipe: $(cat stderr)"
is "$(cat stdout)" "$behind" "what follows a prompt that was read alone"
fails 2 "both given" generate --model m --prompt x --prompt-file long
fails 1 "No such file" generate --model m --prompt-file missing
"$hydralm" generate --model m --prompt x >/dev/full 2>stderr
is $? 1 "a full stdout"
grep -q "stdout could not be written" stderr || die "a full stdout is not explained"
exit 0
