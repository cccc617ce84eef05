#!/usr/bin/env bash
# A TPU by gcloud: one VM, or all VMs of a slice.
#   ./launch/tpu_vm.sh create --project=P --zone=Z --name=N --type=v5litepod-16 [--spot] [--queued] \
#     [--valid_until=6h] [--runtime=VERSION] [--service_account=EMAIL]
#   ./launch/tpu_vm.sh run    --project=P --zone=Z --name=N --type=T --config=... --workdir=... \
#     [--python=COMMAND] [flags of fal_jax.main]     starts, or resumes; needs a commit, not a push
#   ./launch/tpu_vm.sh status|logs|stop|delete --project=P --zone=Z --name=N [--queued] [--worker=0]
# --dry_run  prints the commands and does nothing        --yes  does not ask
# --spot     costs less, and may be taken away at any time
# --queued   waits until there is a free one (queued resource); repeat it for status and delete
# --type     v4-8 ..., v5litepod-1 ... (v5e), v5p-8 ..., v6e-1 ...; numbers of v4 and v5p count
#            cores, two a chip
# Google no longer develops this API, and TPU7x and later are not in it (its documentation in 2026):
# for those, xpk.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/cloud.sh

gcloud_tpu() {  # tpu-vm or queued-resources, then words...
  perform gcloud compute tpus "$@" --project="$project" --zone="$zone"
}

on_workers() {  # WORKER COMMAND
  gcloud_tpu tpu-vm ssh "$name" --worker="$1" --command="$2"
}

read_type() {  # sets chips, single (host), runtime
  local number=${type##*-}
  case $type in
    v4-* | v5p-*) chips=$((number / 2)) single=$((number <= 8)) ;;
    v5litepod-* | v6e-*) chips=$number single=$((number <= 8)) ;;
  esac
  case $type in
    v4-*) : "${runtime:=tpu-ubuntu2204-base}" ;;
    v5p-*) : "${runtime:=v2-alpha-tpuv5}" ;;
    v5litepod-*) : "${runtime:=v2-alpha-tpuv5-lite}" ;;
    v6e-*) : "${runtime:=v2-alpha-tpuv6e}" ;;
  esac
}

create() {
  local hosts='several hosts' price='on demand: at full price until it is deleted' words=()
  [ "$single" = 0 ] || hosts='one host'
  if [ -n "$spot" ]; then
    price='spot: cheaper, and taken away at any time; then delete, create and run again'
    words+=(--spot)
  fi
  [ -z "$service_account" ] || words+=(--service-account="$service_account")
  plan "Creates the TPU $name: $type, $chips chips on $hosts, software $runtime" \
    "in zone $zone of project $project." \
    "Costs money from when it is ready until you delete it, at work or idle: $chips chips," \
    "$price."
  if [ -n "$queued" ]; then
    [ -z "$valid_until" ] || words+=(--valid-until-duration="$valid_until")
    plan "Waits in the queue ${valid_until:+for at most }${valid_until:-for as long as it takes};" \
      "it may become ready, and cost money, while you are away."
  fi
  plan "End it: ./launch/tpu_vm.sh delete --project=$project --zone=$zone --name=$name${queued:+ --queued}"
  consent
  if [ -n "$queued" ]; then
    gcloud_tpu queued-resources create "$name" --node-id="$name" --accelerator-type="$type" \
      --runtime-version="$runtime" "${words[@]}"
  else
    gcloud_tpu tpu-vm create "$name" --accelerator-type="$type" --version="$runtime" "${words[@]}"
  fi
}

run() {
  local bundle=.cache/fal_jax.bundle command
  local words=("--config=$config" "--workdir=$workdir" "${flags[@]}")
  no_secrets "${words[@]}"
  if [ "$single" = 0 ]; then
    shared_folder "$workdir"
    words+=(--coordinator=auto)
  fi
  [ -z "$python" ] || words=("--python=$python" "${words[@]}")
  [ -z "$(git status --porcelain)" ] ||
    echo "Note: changes that are not committed are not taken along." >&2
  plan "Copies this commit to all hosts of $name, makes the environment there, and trains until" \
    "it is finished or stopped. The TPU costs the same whether it trains or not: delete it after."
  # A bundle: the run then knows its commit.
  perform mkdir -p .cache
  perform git bundle create --quiet "$bundle" HEAD
  gcloud_tpu tpu-vm scp "$bundle" "$name:fal_jax.bundle" --worker=all
  command='git init -q fal_jax && cd fal_jax && git fetch -q ../fal_jax.bundle HEAD'
  command+=" && git checkout -qf FETCH_HEAD && ./launch/worker.sh start $(quoted "${words[@]}")"
  on_workers all "$command"
}

status() {
  if [ -n "$queued" ]; then
    gcloud_tpu queued-resources describe "$name" --format='value(state.state)'
  fi
  gcloud_tpu tpu-vm describe "$name" --format='value(state,health)'
  on_workers all './fal_jax/launch/worker.sh status'
}

delete() {
  plan "Deletes the TPU $name in zone $zone of project $project and its disks: what is only there," \
    "e.g. a --workdir in it, is lost."
  consent
  if [ -n "$queued" ]; then
    gcloud_tpu queued-resources delete "$name" --force --quiet
  else
    gcloud_tpu tpu-vm delete "$name" --quiet
  fi
}

action=${1:-}
case $action in
  create | run | status | logs | stop | delete) shift ;;
  *) refuse "Say what to do: create, run, status, logs, stop or delete, got '$action'." ;;
esac
project='' zone='' name='' type='' spot='' queued='' valid_until='' runtime='' service_account=''
config='' workdir='' python='' worker=0 flags=()
for option in "$@"; do
  value=${option#*=}
  case $action:$option in
    *:--dry_run) dry_run=1 ;;
    *:--yes) yes=1 ;;
    *:--project=*) project=$value ;;
    *:--zone=*) zone=$value ;;
    *:--name=*) name=$value ;;
    *:--queued) queued=1 ;;
    create:--type=* | run:--type=*) type=$value ;;
    create:--spot) spot=1 ;;
    create:--valid_until=?*) valid_until=$value ;;
    create:--runtime=?*) runtime=$value ;;
    create:--service_account=?*) service_account=$value ;;
    logs:--worker=?*) worker=$value ;;
    run:--config=*) config=$value ;;
    run:--workdir=*) workdir=$value ;;
    run:--python=?*) python=$value ;;
    run:--?*) flags+=("$option") ;;
    *) refuse "$action does not know '$option'; the options are in the first lines of $0." ;;
  esac
done
need --project "$project" my-project
need --zone "$zone" us-west4-a
need --name "$name" fal-jax
[ -z "$valid_until" ] || [ -n "$queued" ] || refuse "--valid_until is for --queued: add it."
case $action in
  create | run)
    [[ $type =~ ^(v4|v5p|v5litepod|v6e)-[1-9][0-9]*$ ]] ||
      refuse "--type=$type is none of v4-N, v5litepod-N, v5p-N and v6e-N, e.g." \
        "--type=v5litepod-16. Nothing was done."
    read_type
    ;;
esac
if [ "$action" = run ]; then
  [ -n "$config" ] || refuse "No --config given, e.g. --config=configs/w300_best.py."
  [ -n "$workdir" ] || refuse "No --workdir given: name the folder of the run, as the TPU sees it, or gs://BUCKET/FOLDER."
fi
need_tool gcloud "it comes with Google's Cloud SDK"
case $action in
  logs) on_workers "$worker" 'tail -n 50 -F fal_jax/runs/worker.log' ;;
  stop) on_workers all './fal_jax/launch/worker.sh stop' ;;
  *) "$action" ;;
esac
