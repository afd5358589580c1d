#!/bin/sh
# Chromium and a font for tests/browser, from the distribution; does nothing where both are there.
set -eu
if command -v chromium >/dev/null && fc-list 2>/dev/null | grep -q .; then
  exit 0
fi
if [ "$(id -u)" -eq 0 ]; then run=""; else run="sudo"; fi
$run apt-get update
$run env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium fontconfig fonts-dejavu-core
