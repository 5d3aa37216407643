# An installed tree works where it lies: the command, and the README's C example, shared and static.
. "$(dirname "$0")/lib.sh" "$1"
root=$OLDPWD # where the test was started
grep -q '^HY_SANITIZE:[A-Z]*=.' "$1/CMakeCache.txt" && exit 77 # programs would need its runtime
command -v pkg-config >/dev/null || exit 77
cmake --install "$1" --prefix "$here/prefix" >log 2>&1 || die "cmake --install: $(cat log)"
hydralm=$here/prefix/bin/hydralm
tiny_config >tiny.yaml
ok init --config tiny.yaml --out nano --seed 1
lib=$(dirname "$(find prefix -name libhydralm.a)")
export PKG_CONFIG_PATH=$here/$lib/pkgconfig

awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' "$root/README.md" >example.c
grep -q hy_session_generate example.c || die "the README has no example in C"
cc example.c $(pkg-config --cflags --libs hydralm) -o shared || die "the example against the shared library"
LD_LIBRARY_PATH=$here/$lib ./shared >shared.txt || die "the shared example ended with $?"
cc example.c $(pkg-config --cflags hydralm) "$lib/libhydralm.a" \
    $(pkg-config --static --libs hydralm | sed 's/-lhydralm//') -o static ||
    die "the example against the static library"
./static >static.txt || die "the static example ended with $?"
same shared.txt static.txt "the example, shared and static"
[ -s static.txt ] || die "the example wrote nothing"
exit 0
