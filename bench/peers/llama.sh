#!/usr/bin/env bash
# Builds llama.cpp natively and prints the path of its program llama-bench.
#
#     bench/peers/llama.sh [FOLDER]     FOLDER: build/peers unless given; what it has is not made again
#
# The source is the tree that llama-cpp-python vendors in its sdist on PyPI: a release with a commit that
# can be named. LLAMA_SDIST=file.tar.gz takes a file that lies here instead. HY_JOBS: compilers at once.
# Needs python3 with pip, cmake, ninja, a C++ compiler.
set -euo pipefail

version=0.3.36
folder=${1:-$(dirname "$0")/../../build/peers}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
source=$folder/llama.cpp
bench=$folder/llama-build/bin/llama-bench

fail() { echo "llama.sh: $*" >&2 && exit 1; }
for tool in python3 cmake ninja c++; do
    command -v "$tool" >/dev/null || fail "$tool is missing"
done

# The vendored tree, and the commit that its submodule stood at.
unpack() {
    local sdist=${LLAMA_SDIST:-$folder/llama_cpp_python-$version.tar.gz} root new=$folder/new
    if [[ ! -f $sdist ]]; then
        python3 -m pip download --quiet --no-deps --no-binary :all: --dest "$folder" \
            "llama-cpp-python==$version" >&2 ||
            fail "the sdist of llama-cpp-python $version could not be downloaded; LLAMA_SDIST names a file"
    fi
    root=$(basename "$sdist" .tar.gz)
    rm -rf "$new" && mkdir "$new"
    tar xzf "$sdist" -C "$new" --strip-components=1 "$root/vendor/llama.cpp" \
        "$root/.git/modules/vendor/llama.cpp/HEAD" || fail "$sdist is not the sdist of llama-cpp-python"
    cut -c1-12 "$new/.git/modules/vendor/llama.cpp/HEAD" >"$new/vendor/llama.cpp/COMMIT"
    mv "$new/vendor/llama.cpp" "$source"
    rm -rf "$new"
}

build() {
    local launcher=()
    command -v ccache >/dev/null && launcher=(-DCMAKE_{C,CXX}_COMPILER_LAUNCHER=ccache)
    cmake -S "$source" -B "$folder/llama-build" -G Ninja -DCMAKE_BUILD_TYPE=Release "${launcher[@]}" \
        -DBUILD_SHARED_LIBS=OFF -DGGML_NATIVE=ON -DGGML_OPENMP=ON -DGGML_CCACHE=OFF -DGGML_BLAS=OFF \
        -DLLAMA_OPENSSL=OFF -DLLAMA_BUILD_{TESTS,EXAMPLES,SERVER,APP}=OFF \
        -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_COMMIT="$(cat "$source/COMMIT")" >&2
    ninja -C "$folder/llama-build" ${HY_JOBS:+-j"$HY_JOBS"} llama-bench >&2
}

[[ -d $source ]] || unpack
[[ -x $bench ]] || build || fail "the build failed, see above"
echo "$bench"
