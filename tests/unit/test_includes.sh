#!/usr/bin/env bash
# The layers of src/ are kept, and the tool that says so can fail.
set -euo pipefail
tools/check_includes .

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/src/{base,train,account,new}
expect() { # the include of one file, and what must be said about it
    echo "#include \"$2\"" >"$tree/src/$1"
    if said=$(tools/check_includes "$tree") || [[ $said != *"$3"* ]]; then
        echo "src/$1 with \"$2\": said '$said', wanted '$3'"
        exit 1
    fi
    rm "$tree/src/$1"
}
expect base/a.c model/model.h 'src/base may not include "model/model.h"'
expect train/a.c infer/session.h 'src/train may not include'
expect account/a.c model/model.h 'src/account may not include'
expect new/a.c base/status.h 'src/new is not in the table'
echo '#include "model/component.h"' >"$tree/src/account/a.c"
echo '#include "hydralm.h"' >"$tree/src/base/a.c"
if said=$(tools/check_includes "$tree") || [[ $said != *"two files are called a.c"* ]]; then
    echo "two files of one name: said '$said'"
    exit 1
fi
mv "$tree/src/base/a.c" "$tree/src/base/b.c"
tools/check_includes "$tree"
