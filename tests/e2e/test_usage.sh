# Help, wrong usage, exit statuses, near misses, and a stdout that takes nothing.
. "$(dirname "$0")/lib.sh" "$1"

ok --help
[[ $out == *"hydralm COMMAND"* && $out == *inspect* ]] || die "--help lacks the commands"
ok help
ok --version
is "${out%% *}" hydralm "version"
for c in init train generate eval logits convert inspect; do
    ok $c --help
    [[ $out == *"Usage: hydralm $c"* && $out == *--threads* ]] || die "$c --help is incomplete"
    cp stdout help_flag
    ok help $c
    same stdout help_flag "help $c"
    ok $c -h
done
ok train --help-config
[[ $out == *d_model* && $out == *warmup* ]] || die "--help-config lacks fields"
ok train --config nowhere --help-config
[[ $out == *d_model* ]] || die "--help-config is passed over beside other options"
ok version
fails 2 "no option --bogus" version --bogus
fails 2 "no option --bogus" --version --bogus
fails 2 "goes with --dry-run" train --config c --data d --out o --hardware h100

"$hydralm" >stdout 2>stderr
is $? 2 "no command"
[ -s stdout ] && die "usage belongs on stderr"
fails 2 "did you mean train?" tarin
fails 2 "did you mean generate?" help genrate
fails 2 "no command" frobnicate
fails 2 "did you mean --steps?" train --config c --data d --out o --stesp 3
fails 2 "did you mean --temperature?" generate --model m --prompt p --temprature 1
fails 2 "wants --config" train --data d --out o
fails 2 "wants --prompt" generate --model m
fails 2 "wants DIR" inspect
fails 2 "has no option --x" inspect --x
fails 1 "x" inspect -- --x # there is none of that name
fails 2 "both given" train --config c --data d --out o --force --resume
fails 2 "separator has" data build t --tokenizer bytes --out o --separator '\q'
fails 2 "wanted TOKEN" tokenizer train t --out o --special ''
fails 2 "whole number" train --config c --data d --out o --steps many
for seed in -1 1000000000000001 18446744073709551615; do
    for c in init train; do
        fails 2 "--seed is $seed, wanted 0 to 1000000000000000" $c --config c --out o --seed $seed
    done
done
ok train --help
[[ $out == *"--seed N"*"(0 to 1000000000000000)"* ]] || die "the help does not say the range of --seed"
fails 2 "wanted 0 to 1" generate --model m --prompt p --top-p 1.5
fails 2 "stray" eval stray --model m --data d
fails 2 "wants a value" eval --model
fails 2 '--backend is "gpu", wanted' inspect . --backend gpu
fails 2 "--model is empty, wanted DIR" eval --model "" --data d

"$hydralm" --help >/dev/full 2>stderr
is $? 1 "help on a full device"
grep -q "stdout could not be written" stderr || die "a full stdout is not explained by --help"
"$hydralm" train --help >/dev/full 2>stderr
is $? 1 "train --help on a full device"
grep -q "stdout could not be written" stderr || die "a full stdout is not explained"
"$hydralm" train --help >&- 2>stderr
is $? 1 "closed stdout"
exit 0
