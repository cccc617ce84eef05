#!/usr/bin/env bash
# Slices of TPUs on Google's Kubernetes (GKE) by xpk 1.16.0 (pipx install xpk==1.16.0), which needs
# gcloud and kubectl.
#   ./launch/xpk.sh cluster --project=P --zone=Z --cluster=C --type=v5litepod-16 [--slices=1] [--spot]
#   ./launch/xpk.sh image   --image=REGION-docker.pkg.dev/P/REPOSITORY/fal_jax:tpu
#   ./launch/xpk.sh run     --project=P --zone=Z --cluster=C --type=T [--slices=1] [--spot] --name=N \
#     --image=I [--storage=S] --config=... --workdir=gs://BUCKET/RUN [flags of fal_jax.main]
#   ./launch/xpk.sh status|logs|stop --project=P --zone=Z --cluster=C --name=N
#   ./launch/xpk.sh delete_cluster --project=P --zone=Z --cluster=C
# --storage  what is mounted where a --workdir=/... is, by its name in `xpk storage list`
# --dry_run  prints the commands and does nothing        --yes  does not ask
# `stop` deletes the job, whose processes save first; `run` again resumes, as xpk does by itself, at
# most 20 times, after a lost machine.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/cloud.sh

SECONDS_TO_SAVE=120
RESTARTS=20

xpk_() {  # words...
  perform xpk "$@" --cluster="$cluster" --project="$project" --zone="$zone"
}

machines() {  # sets price and capacity
  price='on demand: at full price until it is deleted' capacity=(--on-demand)
  if [ -n "$spot" ]; then
    price='spot: cheaper, and taken away at any time' capacity=(--spot)
  fi
}

cluster() {
  machines
  plan "Creates the GKE cluster $cluster in zone $zone of project $project, with Kueue and" \
    "JobSet, and in it $slices slice(s) of $type." \
    "Costs money from now until you delete it, at work or idle: the cluster with its CPU machines," \
    "and $slices x $type, $price." \
    "End it: ./launch/xpk.sh delete_cluster --project=$project --zone=$zone --cluster=$cluster"
  consent
  xpk_ cluster create --tpu-type="$type" --num-slices="$slices" "${capacity[@]}"
}

image() {
  plan "Builds launch/Dockerfile from this checkout for TPUs and uploads it as" \
    "$image, where its storage costs money until you delete it."
  consent
  perform docker build --file=launch/Dockerfile --build-arg=ACCELERATOR=tpu \
    --build-arg=COMMIT="$(git rev-parse HEAD)" --tag="$image" .
  perform docker push "$image"
}

run() {
  local words=(python -m fal_jax.main "--config=$config" "--workdir=$workdir" "${flags[@]}")
  no_secrets "${words[@]}"
  shared_folder "$workdir"
  machines
  plan "Starts $name on $slices slice(s) of $type of cluster $cluster (${price%%:*}), and again, at" \
    "most $RESTARTS times, when a machine is lost." \
    "The cluster costs the same whether it trains or not: delete it afterwards."
  consent
  # exec: xpk passes SIGTERM to the process that it started, which would else be a shell.
  xpk_ workload create --workload="$name" --tpu-type="$type" --num-slices="$slices" \
    "${capacity[@]}" --docker-image="$image" ${storage:+--storage="$storage"} \
    --max-restarts="$RESTARTS" --restart-on-exit-codes=75 \
    --termination-grace-period-seconds="$SECONDS_TO_SAVE" --command="exec $(quoted "${words[@]}")"
}

logs() {
  perform kubectl logs --follow --tail=50 --container=jax-tpu \
    --selector="jobset.sigs.k8s.io/jobset-name=$name,batch.kubernetes.io/job-completion-index=0"
}

delete_cluster() {
  plan "Deletes the cluster $cluster in zone $zone of project $project and all that runs in it."
  consent
  xpk_ cluster delete
}

action=${1:-}
case $action in
  cluster | image | run | status | logs | stop | delete_cluster) shift ;;
  *)
    refuse "Say what to do: cluster, image, run, status, logs, stop or delete_cluster, got" \
      "'$action'."
    ;;
esac
project='' zone='' cluster='' name='' type='' slices=1 spot='' image='' storage=''
config='' workdir='' flags=()
for option in "$@"; do
  value=${option#*=}
  case $action:$option in
    *:--dry_run) dry_run=1 ;;
    *:--yes) yes=1 ;;
    *:--project=*) project=$value ;;
    *:--zone=*) zone=$value ;;
    *:--cluster=*) cluster=$value ;;
    *:--name=*) name=$value ;;
    cluster:--type=* | run:--type=*) type=$value ;;
    cluster:--slices=* | run:--slices=*) slices=$value ;;
    cluster:--spot | run:--spot) spot=1 ;;
    image:--image=* | run:--image=*) image=$value ;;
    run:--storage=?*) storage=$value ;;
    run:--config=*) config=$value ;;
    run:--workdir=*) workdir=$value ;;
    run:--?*) flags+=("$option") ;;
    *) refuse "$action does not know '$option'; the options are in the first lines of $0." ;;
  esac
done
if [ "$action" != image ]; then
  need --project "$project" my-project
  need --zone "$zone" us-west4-a
  need --cluster "$cluster" my-cluster
fi
case $action in run | status | logs | stop) need --name "$name" fal-jax ;; esac
case $action in
  run | image)
    [ -n "$image" ] || refuse "No --image given: name it with its registry. Nothing was done."
    ;;
esac
case $action in
  cluster | run)
    [[ $type =~ ^(v4|v5p|v5litepod|v6e|tpu7x)-[1-9][0-9]*$ ]] ||
      refuse "--type=$type is no TPU that xpk knows, e.g. --type=v5litepod-16; GPUs:" \
        "jobset_gpu.yaml. Nothing was done."
    [[ $slices =~ ^[1-9][0-9]*$ ]] || refuse "--slices must be a number from 1, got '$slices'."
    ;;
esac
if [ "$action" = run ]; then
  [ -n "$config" ] || refuse "No --config given, e.g. --config=configs/w300_best.py."
  [ -n "$workdir" ] || refuse "No --workdir given: name gs://BUCKET/FOLDER, or a folder that all hosts see."
fi
case $action in
  image) need_tool docker "Docker builds the image" ;;
  logs) need_tool kubectl "it comes with Google's Cloud SDK" ;;
  *) need_tool xpk "pipx install xpk==1.16.0" ;;
esac
case $action in
  status) xpk_ workload list --filter-by-job="^$name\$" ;;
  stop) xpk_ workload delete --workload="$name" ;;
  *) "$action" ;;
esac
