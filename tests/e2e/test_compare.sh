# bench/compare.py, with stand-ins for both sides: rows, rounds, settings, table, failures.
root=$PWD
. "$(dirname "$0")/lib.sh" "$1"
command -v python3 >/dev/null || exit 77
python3 -c "compile(open('$root/bench/peers/torch_models.py').read(), 'torch_models.py', 'exec')"
python3 -c "compile(open('$root/bench/peers/make_gguf.py').read(), 'make_gguf.py', 'exec')"
bash -n "$root/bench/peers/llama.sh"

compare() { python3 "$root/bench/compare.py" --hydralm "$PWD/ours" --peers "$PWD/peers" --csv rows.csv "$@"; }
is "$(compare --list | sort | uniq -d)" "" "rows of one name"
compare --list | grep -qx 'torch/mamba2/train/bf16/512' || die "--list lacks a row"
compare nothing/at/all 2>/dev/null && die "a name of no row was taken"

# ours reads 512 tokens in 2 s; llama-bench says 64 tokens/s, or 128 with pieces of 256
mkdir -p peers/llama-build/bin
cat >ours <<'END'
#!/bin/sh
echo '{"machine": {"cpu": "C, P", "cores": 2, "threads": 2, "commit": "abc"},
       "rows": [{"seconds": 2, "seconds_min": 1, "peak_bytes": 7}]}'
END
cat >peers/llama-build/bin/llama-bench <<'END'
#!/bin/sh
case "$*" in *q8_0*) echo "no such model" >&2; exit 3 ;; *"-ub 256"*) rate=128 ;; *) rate=64 ;; esac
echo "{\"build_commit\": \"def\", \"samples_ts\": [$rate, $rate, 200]}"
END
chmod +x ours peers/llama-build/bin/llama-bench
compare --rounds 2 'llama/mamba2-130m/prefill/fp32/512' >stdout
grep -q 'fp32/512 * 256 * 512 * 128 * 200 * 2.00  2.00 to 2.00 .* batch 1 | -ub 256' stdout || die "$(cat stdout)"
compare --wrap env 'llama/mamba2-130m/prefill/fp32/512' >/dev/null
is "$(wc -l <rows.csv)" 3 "lines of the table"
is "$(grep -c '^"C, P",2,2,llama/mamba2-130m/prefill/fp32/512,.*,llama.cpp def,2,2,2,' rows.csv)" 2 "rows"
compare 'llama/mamba2-130m/prefill/*/512' >stdout 2>stderr && die "a peer that fails was not noticed"
grep -q 'int8/512: .*exit 3: no such model' stderr || die "the reason is missing: $(cat stderr)"
is "$(wc -l <rows.csv)" 6 "the other rows are measured"
is "$(compare --markdown rows.csv | grep -c '^| llama/mamba2-130m/prefill/fp32/512 | 256 | 128 | 2.00 | 2.00 to 2.00, 3 |')" 1 "one line for people"
