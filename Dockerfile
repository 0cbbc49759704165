# The service. Runs as nobody in particular, on a read-only file system but for /scratch, and holds no secret.

FROM python:3.11-slim-bookworm AS build

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /srv/app

RUN python -m pip install --no-cache-dir uv==0.13.9 \
    && uv venv /srv/venv

# Versions and hashes are those of the lock; what only developers need is not installed.
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY gateway gateway
COPY providers providers
RUN uv pip install --python /srv/venv/bin/python --no-cache --constraint requirements.lock \
        ".[api,azure,cloudfront,gcs,jwt,s3,service,tasks]" \
    && uv pip uninstall --python /srv/venv/bin/python presign-gateway

COPY manage.py ./
COPY settings settings

# The admin's assets, named by their content. The settings ask for values that this step does not use.
RUN printf '%s' '{"private": {"BACKEND": "gateway.storages.PrivateFileSystemStorage", "OPTIONS": {"location": "/scratch"}}}' \
        > storages.json \
    && SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(48))')" \
        ALLOWED_HOSTS=localhost DATABASE_URL=sqlite://:memory: GATEWAY_PUBLIC_URL=https://localhost \
        GATEWAY_STORAGES_FILE=storages.json STATIC_ROOT=/srv/static DJANGO_SETTINGS_MODULE=settings.production \
        /srv/venv/bin/python manage.py collectstatic --noinput --verbosity 0 \
    && rm storages.json pyproject.toml requirements.lock README.md


FROM python:3.11-slim-bookworm

ENV PATH=/srv/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DJANGO_SETTINGS_MODULE=settings.production \
    GATEWAY_STORAGES_FILE=/scratch/storages.json \
    GUNICORN_BIND=0.0.0.0:8000 \
    STATIC_ROOT=/srv/static \
    TMPDIR=/scratch

RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin gateway \
    && install --directory --owner 10001 --group 10001 --mode 0700 /scratch

# Of root, so that the service cannot change itself.
COPY --from=build /srv /srv

WORKDIR /srv/app
USER 10001:10001
# The only place to write: uploads on their way, and the storages that come as GATEWAY_STORAGES_JSON.
VOLUME /scratch
EXPOSE 8000

HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(r.Request('http://127.0.0.1:8000/readyz', headers={'Host': os.environ['ALLOWED_HOSTS'].split(',')[0]}), timeout=4)"]

# ALLOW_OWN_ADDRESS: for load balancers that ask for the health of an address.
ENTRYPOINT ["sh", "-euc", "umask 077; if [ -n \"${GATEWAY_STORAGES_JSON:-}\" ]; then printf '%s' \"$GATEWAY_STORAGES_JSON\" > \"$GATEWAY_STORAGES_FILE\"; fi; if [ -n \"${ALLOW_OWN_ADDRESS:-}\" ]; then export ALLOWED_HOSTS=\"$ALLOWED_HOSTS,$(hostname -i | tr ' ' ',')\"; fi; exec \"$@\"", "gateway"]

CMD ["gunicorn", "--config=python:settings.gunicorn"]
