#!/bin/sh
# Serves a folder as an S3-compatible store with one login, that of `aws_credentials`, and one bucket.
set -eu
login=${1:-/run/secrets/aws_credentials}
data=${2:-/data}
address=${3:-0.0.0.0:9000}

value() {
  awk -F ' *= *' -v name="$1" '$1 == name {print $2}' "$login"
}

mkdir -p "$data/mill"
# In the environment: arguments are seen by whoever lists processes.
RCLONE_AUTH_KEY="\"$(value aws_access_key_id),$(value aws_secret_access_key)\""
export RCLONE_AUTH_KEY RCLONE_CONFIG=/tmp/rclone.conf RCLONE_CACHE_DIR=/tmp/rclone
exec rclone serve s3 "$data" --addr "$address" --dir-cache-time 1s
