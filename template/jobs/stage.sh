#!/usr/bin/env bash
# Copy what a job needs, and nothing else, into a folder that is then uploaded or mounted.
#
#   bash jobs/stage.sh DEST [PATH ...]      PATH: more of this project, such as a model's folder
#
# Copied are configs/, domains/ (with your lists in domains/custom/), data/prepared/ (scrubbed rows)
# and the files that the model card reads. Never data/raw, data/quarantine, runs or a vault.
set -euo pipefail

if (($# < 1)); then
  echo "error: no destination; do: bash jobs/stage.sh DEST [PATH ...]" >&2
  exit 2
fi
mkdir -p "$1"
dest=$(cd "$1" && pwd)
shift
cd "$(dirname "${BASH_SOURCE[0]}")/.."
project=$(pwd -P)
if [[ ! -f data/prepared/manifest.json ]]; then
  echo "error: data/prepared: no prepared data; do: make prepare" >&2
  exit 2
fi
for path in "$@"; do
  if [[ ! -e $path ]]; then
    echo "error: $path: not in this project; do: name a path below $project" >&2
    exit 2
  fi
  if [[ -d $path ]]; then
    real=$(cd "$path" && pwd -P)
  else
    real=$(cd "$(dirname "$path")" && pwd -P)/$(basename "$path")
  fi
  case $real in
    "$project" | "$project"/data | "$project"/data/*)
      echo "error: $path: may hold text that was not scrubbed; do: name something else" >&2
      exit 2
      ;;
    "$project"/*) ;;
    *)
      echo "error: $path: outside of this project; do: copy it yourself" >&2
      exit 2
      ;;
  esac
done

for path in configs domains data/prepared pyproject.toml requirements.lock MODEL_CARD.md "$@"; do
  mkdir -p "$dest/$(dirname "$path")"
  cp -R "$path" "$dest/$(dirname "$path")/"
done
rm -f "$dest/configs/plan.lock.yaml" # of this machine
echo "staged in $dest: $(du -sh "$dest" | cut -f1)"
