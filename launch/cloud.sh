# shellcheck shell=bash
# Options, consent and dry runs of the scripts that rent machines. To be sourced by tpu_vm.sh,
# xpk.sh and slurm.sbatch. With `dry_run` set, what they print is a shell script that does the same.

dry_run='' yes=''

refuse() {
  echo "$0: $*" >&2
  exit 2
}

if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 404)); then
  refuse "bash 4.4 or newer is needed, this is $BASH_VERSION; on macOS: brew install bash."
fi

need() {  # OPTION VALUE EXAMPLE: refuses what a cloud would not take as a name
  [ -n "$2" ] || refuse "No $1 given, e.g. $1=$3. Nothing was done."
  [[ $2 =~ ^[a-z][-a-z0-9.:]*$ ]] ||
    refuse "$1=$2 is not a name of lower-case letters, digits and hyphens, e.g. $1=$3."
}

need_tool() {  # COMMAND HOW-TO-GET-IT
  [ -n "$dry_run" ] || command -v "$1" >/dev/null 2>&1 ||
    refuse "$1 is not installed: $2, or see what would be done with --dry_run."
}

# What is typed on a command line can be read by everybody on that machine, and stays in its logs.
no_secrets() {  # words...
  local word name
  for word in "$@"; do
    name=${word%%=*}
    case ${name,,} in
      *token* | *password* | *secret* | *api_key* | *apikey* | *credential*)
        refuse "$name looks like a secret, which must not stand on a command line: use the" \
          "machine's service account, or a variable set on the machine."
        ;;
    esac
  done
}

shared_folder() {  # WORKDIR: refuses what several hosts do not see as one folder
  case $1 in
    gs://?*/?*) ;;
    *://*)
      refuse "--workdir=$1 is no address that fal_jax writes to: name gs://BUCKET/FOLDER, or a" \
        "folder that all hosts see (NFS, e.g. Filestore)."
      ;;
    /*) ;;
    *)
      refuse "--workdir=$1: several hosts need a folder that all see: gs://BUCKET/FOLDER, or a path" \
        "from /."
      ;;
  esac
}

quoted() {  # words...: one line that a shell reads as these words
  local line='' word
  for word in "$@"; do
    [[ $word =~ ^[-A-Za-z0-9_@%+=:,./]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    line+=" $word"
  done
  echo "${line# }"
}

perform() {  # command...
  if [ -n "$dry_run" ]; then
    quoted "$@"
  else
    "$@"
  fi
}

plan() {  # lines...: what is about to be done
  printf '# %s\n' "$@"
}

consent() {
  local answer=''
  [ -z "$dry_run$yes" ] || return 0
  [ -t 0 ] || refuse "Nobody is there to agree: add --yes, or --dry_run. Nothing was done."
  read -r -p "Type yes to go on: " answer || true
  [ "$answer" = yes ] || refuse "Nothing was done."
}
