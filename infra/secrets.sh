#!/bin/sh
# Makes the secrets of infra/compose.yaml, a file each in infra/secrets/; what is there stays.
# Only who may enter that folder can read them: containers read the files, other users of the
# machine cannot reach them.
set -eu
cd "$(dirname "$0")/secrets"
chmod 700 .

make() {  # make NAME TEXT
  if [ -e "$1" ]; then
    echo "$1: is there already"
    return
  fi
  umask 022
  printf '%s\n' "$2" > "$1.partial"
  mv "$1.partial" "$1"
  echo "$1: made"
}

word() {
  openssl rand -hex 24
}

make ganmill_login "mill:$(word)"
make postgres_password "$(word)"
make ganmill_prefect_database "postgresql://prefect:$(word)@postgres:5432/prefect"
make ganmill_mlflow_database "postgresql://mlflow:$(word)@postgres:5432/mlflow"
key=$(word)
secret=$(word)
make aws_credentials "[default]
aws_access_key_id = $key
aws_secret_access_key = $secret"
if [ ! -e tls_certificate ] || [ ! -e tls_key ]; then
  echo "tls_certificate, tls_key: put your certificate (with its chain) and its key here"
fi
