# shellcheck shell=bash
# One slice of a training on a lent machine. To be sourced from the repository's root, as
# train_gpu.sh and train_tpu.sh do, which say what the options mean.

refuse() {
  echo "$0: $*" >&2
  exit 2
}

parse_options() {
  config='' workdir='' minutes=10 bring='' bench='' python='' overrides=()
  local option value
  for option in "$@"; do
    value=${option#*=}
    case $option in
      --config=?*) config=$value ;;
      --workdir=?*) workdir=$value ;;
      --minutes=*) minutes=$value ;;
      --bring=?*) bring=$value ;;
      --bench) bench=all ;;
      --bench=?*) bench=$value ;;
      --python=?*) python=$value ;;
      --config.?*=*) overrides+=("$option") ;;
      *)
        refuse "Unknown option '$option': there are --config=, --workdir=, --minutes=, --bring=," \
          "--bench, --bench=, --python= and --config.KEY=VALUE."
        ;;
    esac
  done

  [ -n "$config" ] || refuse "No --config given, e.g. --config=configs/w300_best.py."
  [ -n "$workdir" ] || refuse "No --workdir given: name the folder of the run, e.g. runs/best."
  case $workdir$bring in
    *://*)
      refuse "--workdir and --bring must be folders of this machine; gs:// is for training without" \
        "slices, python -m fal_jax.main."
      ;;
  esac
  seconds=$(awk -v minutes="$minutes" 'BEGIN {
    print minutes ~ /^[0-9]+([.][0-9]+)?$/ ? int(60 * minutes) : 0
  }')
  [ "$seconds" -gt 0 ] || refuse "--minutes must be a positive number, got '$minutes'."
  if [ -n "$bench" ] && [ -n "$python" ]; then
    refuse "--bench installs what it measures: leave out --python, or --bench."
  fi
  workdir=${workdir/#\~/$HOME} bring=${bring/#\~/$HOME}
  log=${workdir%/}.log
  if [ -n "$bring" ]; then
    mkdir -p "$bring" 2>/dev/null || refuse "--bring=$bring is not a folder that can be made."
    [ ! "$bring" -ef "$workdir" ] || refuse "--bring and --workdir are the same folder: $bring."
  fi
}

check_devices() {  # gpu, tpu or cpu: refuses if that is not what JAX computes on
  local found status=0
  found=$(timeout 180 "$python" -c '
import jax
print(jax.default_backend(), jax.device_count(), jax.devices()[0].device_kind)' 2>&1) || status=$?
  # A driver may have the last word.
  found=$({ grep -E '^[a-z]+ [0-9]+ ' <<<"$found" || echo "$found"; } | tail -n 1)
  case $status:$found in
    0:"$1 "*) echo "Training on $found" ;;
    124:*)
      refuse "The ${1^^} does not answer within three minutes: another process holds it, or it" \
        "waits for other hosts, which this script does not start."
      ;;
    *) refuse "JAX finds no ${1^^} here; it says '${found:0:200}'." ;;
  esac
}

# Runs a command until it ends or the time is up; sets `code`. TERM, INT (Ctrl-C) and HUP (a lost
# connection) to this script become TERM to the command, the first of which a training answers by
# saving itself. The command has a session of its own and writes to a file, for a terminal that goes
# away would stop it before it is saved, or fail its next line.
guarded() {
  local job='' watcher='' reader lines
  mkdir -p "$(dirname "$log")"
  touch "$log"
  lines=$(wc -l <"$log")

  trap pass_on TERM INT HUP
  setsid "$@" >>"$log" 2>&1 &
  job=$!
  [ "$stops" = 0 ] || kill -TERM "$job"
  setsid launch/watch.sh "$job" $((seconds - SECONDS)) $$ >>"$log" 2>&1 &
  watcher=$!
  tail -n +$((lines + 1)) -f -s 0.2 --pid="$job" "$log" &
  reader=$!

  while kill -0 "$job" 2>/dev/null; do
    wait "$job" || true  # a signal ends it early
  done
  code=0
  wait "$job" || code=$?
  kill "$watcher" 2>/dev/null || true
  kill -TERM -- "-$job" 2>/dev/null || true  # what the bench has started
  wait "$watcher" "$reader" || true
  trap - TERM INT HUP
}

pass_on() {
  stops=$((stops + 1))
  [ -z "$job" ] || kill -TERM "$job" 2>/dev/null || true
  # It has been told: when the time is up meanwhile, a second time would stop it unsaved.
  [ -z "$watcher" ] || kill "$watcher" 2>/dev/null || true
}

# Copies what is worth bringing back; the folder is a workdir that training resumes from.
bring_back() {
  local item path step newest=-1
  [ ! -e "$log" ] || cp "$log" "$bring/training.log"
  for item in config.json metrics.jsonl learning_curve.png eval; do
    [ ! -e "$workdir/$item" ] || cp -R "$workdir/$item" "$bring/"
  done
  if [ -d "$workdir/bench_gpu" ]; then
    mkdir -p "$bring/bench_gpu"
    find "$workdir/bench_gpu" -maxdepth 1 -type f -exec cp {} "$bring/bench_gpu/" \;
  fi

  for path in "$workdir"/checkpoints/*; do
    step=${path##*/}
    if [[ $step =~ ^[0-9]+$ ]] && [ "$step" -gt "$newest" ]; then newest=$step; fi
  done
  [ "$newest" -ge 0 ] || return 0
  mkdir -p "$bring/checkpoints"
  rm -rf "$bring/checkpoints/unfinished"
  cp -R "$workdir/checkpoints/$newest" "$bring/checkpoints/unfinished"
  rm -rf "$bring/checkpoints/$newest"
  mv "$bring/checkpoints/unfinished" "$bring/checkpoints/$newest"
  for path in "$bring"/checkpoints/*; do
    step=${path##*/}
    if [[ $step =~ ^[0-9]+$ ]] && [ "$step" != "$newest" ]; then rm -r "$path"; fi
  done
  echo "In $bring: configuration, curves, evaluation if there is one, and step $newest"
}

train_slice() {  # gpu or tpu, then the options
  local wanted=$1 kind
  shift
  parse_options "$@"
  kind=$(accelerator)
  case $wanted:$kind in
    *:cpu) wanted=cpu ;;
    gpu:cuda*) ;;
    tpu:tpu) ;;
    *) refuse "This machine's accelerator is $kind: use launch/train_${kind//cuda*/gpu}.sh." ;;
  esac

  if [ -z "$python" ]; then
    make_environment
    python=.venv/bin/python
    [ "$kind" = cpu ] || install_jax "$kind" ||
      refuse "JAX for $kind cannot be installed: where no package index is reached, name an" \
        "interpreter that has it with --python=COMMAND."
  fi
  [ "$kind" != cpu ] || export JAX_PLATFORMS=cpu
  check_devices "$wanted"

  stops=0
  if [ -n "$bench" ]; then
    local parts=()
    [ "$bench" = all ] || parts=("--parts=$bench")
    FAL_JAX_ACCELERATOR=$kind guarded launch/bench_gpu.sh "$workdir/bench_gpu" "${parts[@]}"
    [ "$code" = 0 ] || echo "The bench ended with $code; see $workdir/bench_gpu" >&2
  fi

  code=143
  if [ "$stops" = 0 ] && [ "$SECONDS" -lt "$seconds" ]; then
    guarded "$python" -m fal_jax.main --config="$config" --workdir="$workdir" \
      --config.data.cache=device "${overrides[@]}"
  fi
  # Until a training listens to it, TERM ends it at once; the second one always does.
  if [ "$code" = 143 ] && [ "$stops" -lt 2 ]; then
    echo "Stopped before the first step: nothing is lost, the same command goes on." >&2
    code=75
  fi
  # Whatever else ended it, a checkpoint may be there; 2 is a mistake in the options.
  [ -z "$bring" ] || [ "$code" = 2 ] || bring_back
  exit "$code"
}
