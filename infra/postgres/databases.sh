#!/bin/sh
# Makes the two databases and their users, once, when Postgres is new; each user sees its own alone.
# Users and passwords are those of the addresses that the servers are given.
set -eu

make() {  # make ADDRESS-FILE
  address=$(cat "$1")
  login=${address#postgresql://}
  login=${login%%@*}
  name=${address##*/}
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
    --set user="${login%%:*}" --set password="${login#*:}" --set name="${name%%\?*}" <<'SQL'
CREATE ROLE :"user" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"user";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

secrets=${SECRETS:-/run/secrets}
make "$secrets/ganmill_prefect_database"
make "$secrets/ganmill_mlflow_database"
