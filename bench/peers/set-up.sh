#!/usr/bin/env bash
# Gets the proxies that the benchmark compares with: HAProxy and nginx from Debian, MOSN by its Go module path into a cache outside
# the repository. Run as root. Starts no service. What cannot be had is said aloud; the benchmark then reports that path as absent.
set -Eeuo pipefail

mosn_version=${MOSN_VERSION:-latest}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ringside-bench

missing=()
command -v haproxy >/dev/null || [[ -x /usr/sbin/haproxy ]] || missing+=(haproxy)
[[ -e /usr/lib/nginx/modules/ngx_stream_module.so ]] || missing+=(nginx libnginx-mod-stream)
if ((${#missing[@]} > 0)); then
  # Debian starts daemons as it installs them, unless this file forbids it.
  policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update
  apt-get -qq install -y --no-install-recommends "${missing[@]}"
fi

if [[ -x $cache/bin/mosn ]]; then
  echo "MOSN is there"
elif ! command -v go >/dev/null; then
  echo "MOSN is absent: there is no Go toolchain"
elif GOBIN=$cache/bin go install "mosn.io/mosn/cmd/mosn/main@$mosn_version"; then
  # The program is called after its folder.
  mv "$cache/bin/main" "$cache/bin/mosn"
else
  echo "MOSN is absent: its module could not be installed"
fi
