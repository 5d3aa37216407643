# The lab: an experiment from beginning to end, interrupted and gone on with; what it refuses.
. "$(dirname "$0")/lib.sh" "$1"
some_text 400 >text.txt
tiny="--text text.txt --set train.steps=3 --set train.val_tokens=256"
tiny="$tiny --set model.d_model=32 --set ssm.head_dim=16"

ok lab leak --quick --seeds 2 --out whole $tiny
for file in index.html loss.svg training.svg results.json results.csv; do
    [ -s whole/leak/$file ] || die "there is no $file"
done
# two arms of two rates, each of which once more with another seed
is "$(ls whole/leak/runs | wc -l)" 6 "trainings"
rows() { sed 's/unit, which/unit which/' "$1/leak/results.csv"; }
is "$(rows whole | cut -d, -f3,5,7 | sort -u | wc -l)" $((1 + 6)) "trainings in results.csv"
is "$(rows whole | cut -d, -f3,5,7,12,15 | sort | uniq -d)" "" "lines of results.csv that stand twice"
for text in 'What would a router' 'Verdict' 'missed' 'own unit, which leaks' train.steps=3 'The text: ' ' --text text.txt'; do
    grep -qF -- "$text" whole/leak/index.html || die "the page does not say \"$text\""
done
is "$(grep -c '<pre' whole/leak/index.html)" 5 "samples, the configuration and the command"
# three steps of 8 times 256 tokens were read, and a token less was asked for in each window
grep -q '<td class="n">6144</td>' whole/leak/index.html || die "the page does not say how many tokens were read"
grep -q '"published": "' whole/leak/results.json || die "results.json: $(head -c 300 whole/leak/results.json)"

# What stands behind a token tells the routing by the unit before it nothing.
future=$(grep '^leak,quick,"previous unit".*,future,' whole/leak/results.csv | sed 's/.*,future,//;s/,.*//')
[ -n "$future" ] || die "nothing is said of the future"
awk '$1 > 1e-5 || $1 < -1e-5 { exit 1 }' <<<"$future" || die "previous unit gains from the future: $future"

# What is done is not done again.
before=$(stat -c %Y.%i whole/leak/runs/*/result.json)
ok lab leak --quick --seeds 2 --out whole $tiny
is "$(stat -c %Y.%i whole/leak/runs/*/result.json)" "$before" "results that were there"

# The long form has a folder of its own.
before=$(cksum <whole/leak/results.json)
ok lab leak --full --seeds 1 --out whole $tiny
grep -q '^whole/leak-full/index.html$' stderr || die "the page of --full: $(cat stderr)"
[ -s whole/leak-full/index.html ] || die "there is no page of --full"
is "$(cksum <whole/leak/results.json)" "$before" "results of --quick"

# One at a time in a folder. Asked to stop, it ends.
"$hydralm" lab leak --quick --out held $tiny --set train.steps=1000000 2>other &
pid=$!
for ((i = 0; i < 500; i++)); do compgen -G 'held/leak/runs/*/model/metrics.jsonl' >/dev/null && break; sleep .02; done
fails 1 'another lab is running in held/leak' lab leak --quick --out held $tiny
kill -INT $pid
wait $pid
is $? 1 "the end of a lab that was asked to stop"
grep -q 'stopped; the same command goes on' other || die "stopped: $(cat other)"

# Killed and asked to stop, it goes on, and comes to the same.
long="$tiny --set train.save_every=1"
"$hydralm" lab leak --quick --seeds 2 --out cut $long --jobs 2 2>/dev/null &
pid=$!
for ((i = 0; i < 200; i++)); do compgen -G 'cut/leak/runs/*/result.json' >/dev/null && break; sleep .02; done
kill -9 $pid
wait $pid 2>/dev/null
while pgrep -f "out cut $long" >/dev/null; do sleep .05; done # its trainings save and end
"$hydralm" lab leak --quick --seeds 2 --out cut $long --jobs 2 2>stderr &
pid=$!
sleep .2
kill -INT $pid
wait $pid
code=$?
[ $code -eq 0 ] || grep -q 'stopped; the same command goes on' stderr || die "interrupted: $code: $(cat stderr)"
ok lab leak --quick --seeds 2 --out cut $long --jobs 1
answers() { rows "$1" | cut -d, -f11 --complement; } # without seconds
is "$(answers cut)" "$(answers whole)" "an interrupted experiment"

# Who starts it may ignore the ends of processes.
env --ignore-signal=CHLD timeout 60 "$hydralm" lab leak --quick --seeds 1 --out deaf $tiny --jobs 4 2>stderr ||
    die "where SIGCHLD is ignored: $?: $(tail -n 1 stderr)"

# All of them, stopped in the first: the page that leads to them says so.
"$hydralm" lab --all --quick --out all 2>stderr &
pid=$!
for ((i = 0; i < 200; i++)); do [ -d all ] && break; sleep .02; done
kill -INT $pid
wait $pid
is $? 1 "the end of a lab that was stopped"
grep -q 'stopped; the same command goes on' stderr || die "stopped: $(cat stderr)"
for text in '>stopped</td>' '>not run</td>' 'lab --all --quick --seeds 3'; do
    grep -qF -- "$text" all/index.html || die "the index does not say \"$text\""
done

fails 2 'there is no experiment "recal"; there are crossover, logic, hops, recall' lab recal --out z
fails 2 'lab wants NAME or --all' lab --out z
fails 2 'lab wants NAME or --all, not both' lab recall --all --out z
fails 2 'no field' lab --all --out z --set train.nothing=1
fails 2 '--full and --quick are both given' lab recall --quick --full --out z
fails 1 'within 2%' lab stretch --out z --set experts.d_ff=4
fails 2 'no field' lab recall --out z --set train.nothing=1
fails 2 'wanted section.key=value' lab recall --out z --set nonsense
fails 1 'brings it to the size of "S W, 4 reads", which does not depend on it' lab hops --out z --set ffn.d_ff=999
fails 1 'does not reach arm "S, N = 4"' lab recall --out z --set ssm.d_state=8
fails 1 'whose stages all have a value for it' lab experts --out z --set experts.balance_rate=0.01
fails 1 'measures does not depend on it' lab crossover --out z --set train.batch=2
fails 1 'crossover: --set train.batch=2' lab --all --out z --set train.batch=2
fails 1 'its stages say how long' lab recall --out z --set train.steps=3
fails 2 '--out is empty' lab recall --out ''
for seeds in 0 -1 1000000000 x; do fails 2 --seeds lab recall --out z --seeds $seeds; done
for jobs in -1 65; do fails 2 --jobs lab recall --out z --jobs $jobs; done
fails 2 'lab crossover trains nothing, and measures one thing at a time; wanted no --seeds' lab crossover --out z --seeds 3
fails 2 'wanted no --jobs' lab crossover --out z --jobs 1
# A task: three arms of two rates.
ok lab facts --quick --seeds 1 --out tasks --set train.steps=3 --set train.batch=1 --set model.d_model=32 --set ssm.head_dim=16
is "$(ls tasks/facts/runs | wc -l)" 6 "trainings of a task"
is "$(grep -c '<pre' tasks/facts/index.html)" 5 "samples, the configuration and the command"
for text in 'Does P hold facts' chance 'equal FLOPs' missed 'published, beside P' 'pkm_lr: 20' train.batch=1; do
    grep -qF -- "$text" tasks/facts/index.html || die "the page does not say \"$text\""
done
for file in accuracy.svg beta.svg; do [ -s tasks/facts/$file ] || die "there is no $file"; done

# A text: thirteen arms of two rates.
ok lab ablate --quick --seeds 1 --out texts --text text.txt --set train.steps=2 --set train.val_tokens=256
is "$(ls texts/ablate/runs | wc -l)" 26 "trainings of a text"
for text in 'each letter' 'no P, equal FLOPs' 'Loss beside the first arm' 'The text: ' ' --text text.txt'; do
    grep -qF -- "$text" texts/ablate/index.html || die "the page does not say \"$text\""
done
for file in bits.svg beside.svg; do [ -s texts/ablate/$file ] || die "there is no $file"; done

fails 2 'lab recall makes its own data; wanted no --text' lab recall --out z --text .
cp "$hydralm" ./alone
./alone lab ablate --out z 2>stderr && die "lab ablate has a text out of nowhere"
grep -q "sources and docs, which are neither in .* name a text with --text" stderr || die "no text: $(cat stderr)"
./alone lab experts --out z 2>stderr && die "lab experts has a text out of nowhere"
grep -q "sources and docs, which are neither in .* run it in the project's folder" stderr || die "no text: $(cat stderr)"
fails 2 "lab experts reads the project's own sources and docs, and no other text; wanted no --text" lab experts --out z --text .
fails 1 nowhere.txt lab ablate --out z --text nowhere.txt
fails 1 'wanted files and folders of text' lab ablate --out z --text task:logic
: >empty.txt
fails 1 'empty.txt is empty' lab ablate --out z --text empty.txt
fails 1 'tokens of the text are held out, wanted 32768; name more text with --text' lab stretch --out z --text text.txt
fails 1 'nothing of the text text is held out' lab ablate --out z --text text.txt --set train.val_fraction=0
absent z "what was refused"
fails 2 "--out" lab recall
touch file
fails 1 "file" lab recall --out file/below
exit 0
