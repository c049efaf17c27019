#!/usr/bin/env bash
# Train once, or go on with the run that was cut off. Every job file of this folder ends here.
#
#   bash jobs/train.sh [key=value ...]      settings as of scripts/train.py
#
#   JOB_FOLDER  what outlives the machine: a folder that stage.sh made. It holds configs/, domains/
#               and data/prepared/, and gets runs/ and fine_tuned_model/    (default: this project)
#   JOB_INPUT   such a folder that cannot be written: copied into JOB_FOLDER first  (default: none)
#   JOB_ID      the same after a restart; its runs are in runs/JOB_ID                (default: job)
#   JOB_CONFIG  configuration within JOB_FOLDER           (default: configs/default_config.yaml)
#   NPROC       processes on this machine, one for each GPU                            (default: 1)
#   NNODES NODE_RANK MASTER_ADDR MASTER_PORT     machines, which this is, where the first one listens
#   PYTHON      interpreter of the project's environment                          (default: python)
#
# Exit codes are those of scripts/train.py; torchrun makes 1 of all that are not 0. 143: told to stop
# (SIGTERM, SIGINT) before the run was finished. With the same JOB_ID it then goes on from its last
# checkpoint.
set -euo pipefail
set -m # training gets a process group of its own: a signal reaches it once, from here

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=${JOB_FOLDER:-$project}
job=${JOB_ID:-job}
runs=runs/${job//[^A-Za-z0-9_.-]/-}
python=${PYTHON:-python}
settings=(train.output_dir="$runs")

if [[ -n ${JOB_INPUT:-} && ! -e $folder/$runs ]]; then
  mkdir -p "$folder"
  cp -R "$JOB_INPUT/." "$folder/"
fi
cd "$folder"
if [[ ! -d data/prepared ]]; then
  echo "error: $folder/data/prepared: not there; do: bash jobs/stage.sh DEST, and bring DEST here" >&2
  exit 2
fi

# Nothing is fetched during a job: a model of the hub lies in the cache that was staged.
[[ ! -d huggingface ]] || export HF_HOME=${HF_HOME:-$PWD/huggingface}
export HF_HUB_OFFLINE=${HF_HUB_OFFLINE:-1} TOKENIZERS_PARALLELISM=false PYTHONUNBUFFERED=1
# Time to write a checkpoint before processes are killed; torchrun leaves 30 seconds otherwise.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT=${TORCH_ELASTIC_SHUTDOWN_TIMEOUT:-240}

shopt -s nullglob
checkpoints=("$runs"/*/checkpoints/checkpoint-*/trainer_state.json)
if ((${#checkpoints[@]})); then
  settings+=(train.resume_from_checkpoint=latest)
fi

command=("$python")
if ((${NPROC:-1} * ${NNODES:-1} > 1)); then
  command+=(-m torch.distributed.run --nproc_per_node "${NPROC:-1}" --nnodes "${NNODES:-1}")
  command+=(--node_rank "${NODE_RANK:-0}" --master_addr "${MASTER_ADDR:-127.0.0.1}")
  command+=(--master_port "${MASTER_PORT:-29500}")
fi
command+=("$project/scripts/train.py" --config "${JOB_CONFIG:-configs/default_config.yaml}")
command+=("${settings[@]}" "$@")
echo "in $folder: ${command[*]}"

told=""
"${command[@]}" &
child=$!
stop() { # torchrun must not get a second signal while it ends
  [[ -n $told ]] || kill -s "$1" "$child" 2>/dev/null || true
  told=yes
}
trap 'stop TERM' TERM
trap 'stop INT' INT
code=0
wait "$child" || code=$?
while kill -0 "$child" 2>/dev/null; do # a signal ends `wait`, not training
  code=0
  wait "$child" || code=$?
done

if [[ -n $told ]]; then
  records=("$runs"/*/training_args.json)
  if ((${#records[@]})) && grep -q '"status": "finished"' "${records[@]}"; then
    exit 0
  fi
  echo "$runs: told to stop before the run was finished: start the job again, and it goes on" >&2
  exit 143
fi
exit "$code"
