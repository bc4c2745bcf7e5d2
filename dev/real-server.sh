#!/usr/bin/env bash
# Runs Streamgauge in front of a real server: PyPI's `transformers serve`, with a tiny model of random weights that the
# script creates. Installs into target/real-server (several GB, because of torch).
#   dev/real-server.sh
# PYTHON_WITH_TRANSFORMERS=/path/to/python uses an environment that has transformers[serving] already.
set -euo pipefail
cd "$(dirname "$0")/.."
here=target/real-server
mkdir -p "$here"
python=${PYTHON_WITH_TRANSFORMERS:-}
if [ -z "$python" ]; then
    [ -d "$here/python" ] || python3 -m venv "$here/python"
    python=$here/python/bin/python
    "$python" -m pip install --quiet 'transformers[serving]' torch
fi
cargo build --release --quiet
[ -d "$here/model" ] || "$python" dev/make_model.py "$here/model"

port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
server=$(port) proxy=$(port) admin=$(port)
stop() { kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; }
pids=()
trap stop EXIT
export HF_HUB_OFFLINE=1
"$(dirname "$python")/transformers" serve "$here/model" --host 127.0.0.1 --port "$server" --device cpu \
    >"$here/server.log" 2>&1 &
pids+=($!)
for _ in $(seq 180); do
    curl --silent --fail --output /dev/null "http://127.0.0.1:$server/health" && break
    kill -0 "${pids[0]}" || { tail "$here/server.log"; exit 1; }
    sleep 1
done
target/release/streamgauge --upstream "http://127.0.0.1:$server" --listen "127.0.0.1:$proxy" \
    --admin "127.0.0.1:$admin" --log-level warn &
pids+=($!)
for _ in $(seq 50); do
    curl --silent --fail --output /dev/null "http://127.0.0.1:$admin/readyz" && break
    sleep 0.1
done
python3 dev/check_server.py "127.0.0.1:$proxy" "127.0.0.1:$admin" "$here/model"
