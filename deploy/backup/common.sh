# What backup.sh and restore.sh share: where things are. Sourced from the project's directory.
python=${SMG_PYTHON:-.venv/bin/python}

# A setting from the environment or from the .env file, as the gateway itself reads it.
setting() {
    eval "value=\${$1:-}"
    file=${SMG_ENV_FILE:-.env}
    if [ -z "$value" ] && [ -f "$file" ]; then
        value=$(sed -n "s/^$1=//p" "$file" | tail -n 1)
    fi
    printf '%s\n' "${value:-$2}"
}

var=$(setting SMG_VAR_DIR "$PWD/var")
DATABASE_URL=$(setting DATABASE_URL "sqlite:///$var/smg.sqlite3")
spool=$(setting SMG_SPOOL_DIR "$var/spool")
case $DATABASE_URL in
sqlite:*)
    kind=sqlite
    sqlite=${DATABASE_URL#sqlite:///}
    ;;
postgres:* | postgresql:*) kind=postgres ;;
*)
    echo "DATABASE_URL=$DATABASE_URL: neither sqlite nor postgres" >&2
    exit 2
    ;;
esac
