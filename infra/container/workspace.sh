#!/bin/sh
# Makes an empty volume a workspace; in one that this made, renews what belongs to the code.
# A clone of your own git repository, with gan/ and flows/ as folders, is left as it is.
# Harmless at any time, also while others do the same.
set -eu
code=${1:-/opt/ganmill}
cd "${2:-/workspace}"

if [ -d gan ] && [ ! -L gan ]; then
  echo "$PWD: has code of its own; nothing is touched"
  exit 0
fi

put() {  # whole or not at all, under its own name
  mkdir -p "$(dirname "$1")"
  cp "$code/$1" "$1.$$.partial"
  mv -f "$1.$$.partial" "$1"
}

for room in gan flows; do
  ln -s "$code/$room" ".$room.$$.partial"
  mv -fT ".$room.$$.partial" "$room"
done
for file in dvc.yaml .dvcignore; do
  put "$file"
done
for file in params.yaml .gitignore .dvc/config .dvc/.gitignore; do
  [ -e "$file" ] || put "$file"
done
for pin in "$code"/models/*/start.json; do
  file=${pin#"$code"/}
  [ -e "$file" ] || put "$file"
done
[ -e .git ] || git init -q .
echo "$PWD: ready"
